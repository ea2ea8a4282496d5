"use client";

import { useFormatter, useTranslations } from "next-intl";
import type { Figures } from "producer-twin";

/** What is heard in a take, as far as it can be told. */
export function FiguresLine({ figures }: { figures: Figures }) {
  const t = useTranslations("make");
  const format = useFormatter();
  const number = (value: number, digits: number): string => format.number(value, { maximumFractionDigits: digits });
  const { bpm, bpm_off, key, key_matches, loudness, clipped, twin_distance } = figures;
  const heard = [
    ...(bpm === null
      ? []
      : [
          bpm_off === null
            ? t("tempo", { bpm: number(bpm, 1) })
            : t("tempoOff", { bpm: number(bpm, 1), off: number(100 * bpm_off, 1) }),
        ]),
    ...(key === null ? [] : [key_matches === null ? key : t(key_matches ? "keyMatches" : "keyDiffers", { key })]),
    ...(loudness === null ? [] : [t("loudness", { lufs: number(loudness, 1) })]),
    ...(clipped > 0 ? [t("clipped", { count: clipped })] : []),
    ...(twin_distance === null ? [] : [t("distance", { distance: number(twin_distance, 2) })]),
  ];
  return <p className="hint">{heard.length > 0 ? heard.join(" · ") : t("nothingHeard")}</p>;
}
