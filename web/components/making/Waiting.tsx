"use client";

import { useTranslations } from "next-intl";
import { useEffect, useState } from "react";
import { dismiss, type TrackRequest } from "@/lib/making/requests";
import { cancel, usePosition } from "@/lib/making/underWay";
import { liveSound } from "@/lib/player/playable";
import { Notice } from "../Notice";
import { PlayButton } from "../PlayButton";
import "./cards.css";

/** How far the service is with a request, and what ends it. */
export function Waiting({ request, name }: { request: TrackRequest; name: string }) {
  const t = useTranslations("make");
  const { track, silent } = usePosition(request);
  const [trouble, setTrouble] = useState<unknown>(null);
  const seconds = useSecondsSince(request.askedAt);
  const done = Math.round(100 * (track?.progress ?? 0));
  const left = track?.seconds_left;
  const sound = track?.audible ? liveSound(request) : null;

  /** In words that change seldom: they are read out. */
  function standing(): string {
    if (silent) return t("silent");
    if (track?.state === "finishing") return t("finishing");
    if (track?.state === "making") return t("making");
    return typeof track?.ahead === "number" ? t("ahead", { count: track.ahead }) : t("underWay");
  }

  return (
    <div className="waiting">
      <p>
        <span role="status" aria-label={name}>
          {standing()}
        </span>
        {done > 0 && `, ${done} %`}
        {typeof left === "number" ? (
          t("secondsLeft", { seconds: Math.max(1, Math.round(left)) })
        ) : (
          <span aria-hidden="true">{t("for", { seconds })}</span>
        )}
      </p>
      <progress aria-label={t("progressOf", { name })} max={100} {...(done > 0 ? { value: done } : {})} />
      {sound && (
        <p className="take-head">
          <PlayButton sound={sound} /> {t("listen")}
        </p>
      )}
      <Notice>{trouble}</Notice>
      <div className="actions">
        <button type="button" onClick={() => void cancel(request).catch(setTrouble)} aria-label={t("cancelOf", { name })}>
          {t("cancel")}
        </button>
        {trouble !== null && (
          <button type="button" onClick={() => dismiss(request)} aria-label={t("dismissOf", { name })}>
            {t("dismiss")}
          </button>
        )}
      </div>
    </div>
  );
}

function useSecondsSince(start: number): number {
  const [now, setNow] = useState(start);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return Math.max(0, Math.round((now - start) / 1000));
}
