"use client";

import { useFormatter, useLocale, useTranslations } from "next-intl";
import { useId } from "react";
import type { Analysis } from "producer-twin";
import { clock } from "@/lib/duration";
import { keyName } from "@/lib/keyName";
import type { Song } from "@/lib/useSongs";
import { KeyOptions } from "../KeyOptions";
import { Notice } from "../Notice";
import { NumberField } from "../NumberField";
import { BeatWave } from "./BeatWave";

type Props = {
  song: Song;
  uploaded: boolean;
  change: (news: Partial<Song>) => void;
  remove: () => void;
};

/** A file of the new training, as a row: its sound, and what is known of it, which the producer may correct. */
export function Beat({ song, uploaded, change, remove }: Props) {
  const t = useTranslations("beats");
  const locale = useLocale();
  const id = useId();
  const { known, name } = song;
  const tone = known ? toneOf(known) : null;
  return (
    <li aria-label={name} className="beat">
      <p className="beat-name">
        {name} <span className="hint">{known && <Facts known={known} />}</span>
      </p>
      <div className="beat-row">
        <BeatWave file={song.file} src={song.src} name={name} />
        {known && (
          <div className="beat-fields">
            <NumberField
              label={t("tempo")}
              min={30}
              max={300}
              step="any"
              placeholder={tempoOf(known, t) ?? t("notHeard")}
              value={song.bpm}
              change={(bpm) => change({ bpm })}
            />
            <div>
              <label htmlFor={`${id}key`}>{t("key")}</label>
              <select id={`${id}key`} value={song.tone} onChange={(event) => change({ tone: event.target.value })}>
                <option value="">{tone === null ? t("notHeard") : t("automatic", { value: keyName(tone, locale) })}</option>
                <KeyOptions />
              </select>
            </div>
            <Text label={t("genre")} example={t("genreExample")} value={song.genre} set={(genre) => change({ genre })} />
            <Text label={t("instruments")} example={t("instrumentsExample")} value={song.instruments} set={(instruments) => change({ instruments })} />
          </div>
        )}
        {!known && song.trouble === undefined && (
          <p role="status" className="beat-state">
            {uploaded ? t("listening") : t("uploading")} {!uploaded && <progress aria-label={t("progress", { name })} value={song.share} max={1} />}
          </p>
        )}
        <button type="button" onClick={remove} aria-label={t("removeOne", { name })}>
          {t("remove")}
        </button>
      </div>
      {song.trouble !== undefined && (
        <div className="actions">
          <Notice>{song.trouble}</Notice>
          <button type="button" onClick={() => change({ trouble: undefined })}>
            {t("tryAgain")}
          </button>
        </div>
      )}
    </li>
  );
}

function Text({ label, example, value, set }: { label: string; example: string; value: string; set: (text: string) => void }) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id}>{label}</label>
      <input id={id} maxLength={200} placeholder={example} value={value} onChange={(event) => set(event.target.value)} />
    </div>
  );
}

/** Length and format, the file's own title, its tempo and key, and warnings. */
function Facts({ known }: { known: Analysis }) {
  const t = useTranslations("beats");
  const format = useFormatter();
  const locale = useLocale();
  const { title, artist, bpm, key } = known.embedded;
  const tempo = tempoOf(known, t);
  const tone = toneOf(known);
  const told = (value: string | null, isStated: boolean, confidence: number | null): string | false =>
    value !== null && (isStated ? t("stated", { value }) : t("heard", { value, sure: Math.round(100 * (confidence ?? 0)) }));
  const facts = [
    clock(known.seconds),
    `${known.format.toUpperCase()} ${format.number(known.sample_rate / 1000)} kHz`,
    t("channels", { count: known.channels }),
    [title, artist].filter(Boolean).join(" – "),
    told(tempo && `${tempo} bpm`, bpm !== null, known.bpm_confidence),
    told(tone && keyName(tone, locale), key !== null, known.key_confidence),
    known.loudness !== null && `${format.number(known.loudness, { maximumFractionDigits: 1 })} LUFS`,
    known.clipped > 0 && t("clipped", { count: known.clipped }),
    known.silent > known.seconds / 4 && t("silent", { seconds: Math.round(known.silent) }),
  ].filter(Boolean);
  return (
    <>
      {facts.join(" · ")}
      {known.warnings.map((warning) => (
        <span key={warning} lang="en">
          {" · "}
          {warning}
        </span>
      ))}
    </>
  );
}

type Say = ReturnType<typeof useTranslations<"beats">>;

/** What a training uses unless the producer says otherwise: the file's own tempo, else the one that was heard. */
function tempoOf({ embedded, bpm, bpm_alternative: other }: Analysis, t: Say): string | null {
  if (embedded.bpm !== null) return String(embedded.bpm);
  if (bpm === null) return null;
  return other === null ? String(bpm) : t("or", { one: String(bpm), other: String(other) });
}

const toneOf = ({ embedded, key }: Analysis): string | null => embedded.key ?? key;
