"use client";

import { useTranslations } from "next-intl";
import { useId } from "react";
import { clock } from "@/lib/duration";
import { musicAmount } from "@/lib/musicAmount";

/** Says whether songs of these lengths in seconds are enough for a twin. */
export function MusicAmount({ lengths }: { lengths: number[] }) {
  const t = useTranslations("newTwin");
  const id = useId();
  if (lengths.length === 0) return <p className="hint">{t("howMuch")}</p>;
  const { level, seconds, share } = musicAmount(lengths);
  return (
    <div className="amount">
      <meter aria-labelledby={`${id}said`} min={0} max={1} low={0.3} high={0.99} optimum={1} value={share} />
      <p id={`${id}said`} className="hint">
        {t("songs", { count: lengths.length, time: clock(seconds) })} {t(level)}
      </p>
    </div>
  );
}
