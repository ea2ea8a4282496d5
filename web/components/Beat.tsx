"use client";

import type { Analysis } from "@/lib/client";
import { Notice } from "./Notice";
import { Sound } from "./Sound";
import { TempoAndKey } from "./TempoAndKey";

/** A file on its way to a training. `bpm` and `tone` are the producer's own word, which goes before what was heard. */
export type Song = {
  key: string;
  file: File;
  src: string;
  share: number;
  path?: string;
  known?: Analysis;
  bpm: string;
  tone: string;
  trouble?: string | undefined;
};

type Props = { song: Song; change: (news: Partial<Song>) => void; remove: () => void; again: () => void };

export function Beat({ song, change, remove, again }: Props) {
  const { known, file } = song;
  return (
    <li className="panel" aria-label={file.name}>
      <h3>{file.name}</h3>
      <Sound src={song.src} label={file.name} bytes={file.size} />
      {song.path === undefined && !song.trouble && (
        <label>
          Uploading <progress value={song.share} max={1} />
        </label>
      )}
      {song.path !== undefined && !known && !song.trouble && <p role="status">Listening to it</p>}
      {known && (
        <>
          <p className="hint">{facts(known)}</p>
          <TempoAndKey
            bpm={song.bpm}
            setBpm={(bpm) => change({ bpm })}
            step="any"
            noBpm={tempo(known)}
            tone={song.tone}
            setTone={(tone) => change({ tone })}
            noTone={known.key === null ? "None heard" : `${known.key} heard, ${sureness(known.key_confidence)}`}
          />
        </>
      )}
      <Notice>{song.trouble ?? null}</Notice>
      <div className="actions">
        {song.trouble && (
          <button type="button" onClick={again}>
            Try again
          </button>
        )}
        <button type="button" onClick={remove} aria-label={`Remove ${file.name}`}>
          Remove
        </button>
      </div>
    </li>
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

function tempo(known: Analysis): string {
  if (known.bpm === null) return "none heard";
  const alternative = known.bpm_alternative === null ? "" : ` or ${known.bpm_alternative}`;
  return `${known.bpm}${alternative} heard, ${sureness(known.bpm_confidence)}`;
}

function sureness(confidence: number | null): string {
  return `${Math.round((confidence ?? 0) * 100)} % sure`;
}
