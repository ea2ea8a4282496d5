"use client";

import { useId } from "react";
import type { Analysis } from "@/lib/client";
import { Notice } from "./Notice";
import { Sound } from "./Sound";
import { TempoAndKey } from "./TempoAndKey";

/** A file on its way to a training. The producer's own words (`bpm` to `instruments`) go before what was heard. */
export type Song = {
  key: string;
  file: File;
  /** Of all files of the training, no other has this name. */
  name: string;
  src: string;
  share: number;
  path?: string;
  known?: Analysis;
  bpm: string;
  tone: string;
  genre: string;
  instruments: string;
  trouble?: string | undefined;
};

type Props = { song: Song; change: (news: Partial<Song>) => void; remove: () => void; again: () => void };

export function Beat({ song, change, remove, again }: Props) {
  const { known, file, name } = song;
  return (
    <li className="panel" aria-label={name}>
      <h3>{name}</h3>
      <Sound src={song.src} label={name} bytes={file.size} />
      {song.path === undefined && !song.trouble && (
        <label>
          Uploading <progress value={song.share} max={1} />
        </label>
      )}
      {song.path !== undefined && !known && !song.trouble && <p role="status">Listening to it</p>}
      {known && (
        <>
          {stated(known) && <p>{stated(known)}</p>}
          <p className="hint">{facts(known)}</p>
          <TempoAndKey
            bpm={song.bpm}
            setBpm={(bpm) => change({ bpm })}
            step="any"
            noBpm={tempo(known)}
            tone={song.tone}
            setTone={(tone) => change({ tone })}
            noTone={tone(known)}
          />
          <div className="row">
            <Words label="Genre" example="techno" value={song.genre} set={(genre) => change({ genre })} />
            <Words label="Instruments" example="synth, drums" value={song.instruments} set={(instruments) => change({ instruments })} />
          </div>
        </>
      )}
      <Notice>{song.trouble ?? null}</Notice>
      <div className="actions">
        {song.trouble && (
          <button type="button" onClick={again}>
            Try again
          </button>
        )}
        <button type="button" onClick={remove} aria-label={`Remove ${name}`}>
          Remove
        </button>
      </div>
    </li>
  );
}

function Words({ label, example, value, set }: { label: string; example: string; value: string; set: (words: string) => void }) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id}>{label}</label>
      <input id={id} maxLength={200} placeholder={`as heard, or ${example}`} value={value} onChange={(event) => set(event.target.value)} />
    </div>
  );
}

function facts(known: Analysis): string {
  const minutes = Math.floor(known.seconds / 60);
  const seconds = Math.round(known.seconds % 60);
  return [
    `${minutes}:${String(seconds).padStart(2, "0")}`,
    `${known.format.toUpperCase()}, ${known.sample_rate / 1000} kHz, ${known.channels === 1 ? "mono" : `${known.channels} channels`}`,
    ...(known.loudness === null ? [] : [`${known.loudness.toFixed(1)} LUFS`]),
    ...known.warnings,
    ...(known.clipped > 0 ? [`${known.clipped} clipped samples`] : []),
    ...(known.silent > known.seconds / 4 ? [`${known.silent.toFixed(0)} s of silence`] : []),
  ].join(" · ");
}

/** Title, artist and genre inside the file. */
function stated({ embedded }: Analysis): string {
  return [embedded.title, embedded.artist, embedded.genre].filter((tag) => tag !== null).join(" · ");
}

/** What a training uses unless the producer says otherwise: the file's own tempo, else the one that was heard. */
function tempo({ embedded, bpm, bpm_alternative, bpm_confidence }: Analysis): string {
  if (embedded.bpm !== null) return `${embedded.bpm} by the file's tags`;
  if (bpm === null) return "none heard";
  const alternative = bpm_alternative === null ? "" : ` or ${bpm_alternative}`;
  return `${bpm}${alternative} heard, ${sureness(bpm_confidence)}`;
}

function tone({ embedded, key, key_confidence }: Analysis): string {
  if (embedded.key !== null) return `${embedded.key} by the file's tags`;
  return key === null ? "None heard" : `${key} heard, ${sureness(key_confidence)}`;
}

function sureness(confidence: number | null): string {
  return `${Math.round((confidence ?? 0) * 100)} % sure`;
}
