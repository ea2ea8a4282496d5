"use client";

import { useFormatter, useLocale, useTranslations } from "next-intl";
import Link from "next/link";
import type { ReactNode } from "react";
import type { StoredTrack } from "producer-twin";
import { clock } from "@/lib/duration";
import { keyName } from "@/lib/keyName";
import { When } from "../When";

/** Fields of a request that the page shows by other means. */
const SHOWN = new Set([
  "prompt",
  "lora_id",
  "loras",
  "seed",
  "bpm",
  "key",
  "task",
  "source",
  "reference",
  "duration_seconds",
  "backend_override",
]);

/** All that made a track. */
export function Details({ track }: { track: StoredTrack }) {
  const t = useTranslations("track");
  const tasks = useTranslations("tasks");
  const fields = useTranslations("fields");
  const format = useFormatter();
  const locale = useLocale();
  const options = Object.entries(track.options).filter(
    ([name, value]) => !SHOWN.has(name) && value !== null && value !== "",
  );
  return (
    <dl className="facts">
      {track.title !== null && <Fact name={fields("prompt")}>{track.prompt}</Fact>}
      <Fact name={t("twins")}>
        {track.twins.length === 0
          ? t("noTwin")
          : track.twins.map((twin) => (
              <span key={twin.lora_id}>
                <Link href={`/library?twin=${encodeURIComponent(twin.lora_id)}`}>{twin.lora_id}</Link>{" "}
                {t("versionAt", {
                  version: twin.version.slice(0, 8),
                  strength: format.number(twin.strength, { maximumFractionDigits: 2 }),
                })}
              </span>
            ))}
      </Fact>
      {track.task !== undefined && track.task !== "text" && <Fact name={t("task")}>{tasks(track.task)}</Fact>}
      {track.parent && (
        <Fact name={t("parent")}>
          <Link href={`/track/${track.parent}`}>{t("openParent")}</Link>
        </Fact>
      )}
      {track.reference && <Fact name={t("reference")}>{track.reference}</Fact>}
      <Fact name={fields("duration_seconds")}>{clock(track.duration_seconds)}</Fact>
      {track.bpm !== null && <Fact name={fields("bpm")}>{t("bpm", { bpm: track.bpm })}</Fact>}
      {track.key !== null && <Fact name={fields("key")}>{keyName(track.key, locale)}</Fact>}
      <Fact name={fields("seed")}>{track.seed}</Fact>
      {options.map(([name, value]) => {
        const known = name as Parameters<typeof fields>[0];
        return (
          <Fact key={name} name={fields.has(known) ? fields(known) : name}>
            {typeof value === "object" ? JSON.stringify(value) : String(value)}
          </Fact>
        );
      })}
      <Fact name={t("model")}>
        {track.backend} ({nameOf(track.checkpoint)})
      </Fact>
      <Fact name={t("file")}>
        {track.output_format.toUpperCase()}, {format.number(track.sample_rate / 1000)} kHz
      </Fact>
      <Fact name={t("made")}>
        <When at={track.created_at} long />
      </Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** A checkpoint's id on a hub; of a folder on the service's disk, its last part. */
const nameOf = (checkpoint: string): string => (checkpoint.startsWith("/") ? (checkpoint.split("/").filter(Boolean).at(-1) ?? "") : checkpoint);
