"use client";

import { useTranslations } from "next-intl";
import { here } from "@/lib/client";
import type { Report } from "@/lib/report";

/** Pieces of one prompt without and with the twin, beside a clip of the producer's own music. */
export function Listen({ report, jobId }: { report: Report; jobId: string }) {
  const t = useTranslations("report");
  const { comparisons, own_clips: clips, data } = report;
  if (comparisons.length === 0) return null;
  const sound = (name: string, label: string) => (
    <figure key={label}>
      <figcaption>{label}</figcaption>
      <audio controls preload="none" src={here(`/jobs/${encodeURIComponent(jobId)}/previews/${name}`)} aria-label={label} />
    </figure>
  );
  return (
    <>
      <h3>{t("listen")}</h3>
      {comparisons.map(({ prompt, without, with_twin: withTwin }, number) => {
        const own = clips.find((clip) => clip.prompt === prompt) ?? clips[number % Math.max(1, clips.length)];
        const song = own && data?.by_song?.find((row) => row.song === own.song);
        return (
          <div key={without}>
            <p className="hint">{t("fromPrompt", { prompt })}</p>
            <div className="beside">
              {own && sound(own.name, song ? t(song.held_out ? "ownHeldOut" : "ownTrained", { song: song.name }) : t("ownClip"))}
              {sound(without, t("withoutTwin"))}
              {sound(withTwin, t("withTwin"))}
            </div>
          </div>
        );
      })}
    </>
  );
}
