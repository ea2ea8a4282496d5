"use client";

import { useFormatter, useLocale, useTranslations } from "next-intl";
import type { Figures } from "producer-twin";
import { keyName } from "@/lib/keyName";

/** What is heard in a take, as far as it can be told. */
export function FiguresLine({ figures }: { figures: Figures }) {
  const t = useTranslations("make");
  const format = useFormatter();
  const locale = useLocale();
  const number = (value: number, digits: number): string => format.number(value, { maximumFractionDigits: digits });
  const { bpm, bpm_off, key_matches, loudness, clipped, twin_distance } = figures;
  const key = figures.key === null ? null : keyName(figures.key, locale);
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
