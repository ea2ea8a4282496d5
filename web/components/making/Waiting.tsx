"use client";

import { useTranslations } from "next-intl";
import { useEffect, useState } from "react";
import type { Place } from "@/lib/client";
import { usePlace } from "@/lib/usePlace";

/** Where a request stands in the queue. `id` is null where the service cannot be asked. */
export function Waiting({ name, id, cancel }: { name: string; id: string | null; cancel: () => void }) {
  const t = useTranslations("make");
  const [seconds, setSeconds] = useState(0);
  const { place, silent } = usePlace(id);
  const done = Math.round(100 * (place?.progress ?? 0));
  const left = place?.seconds_left;

  useEffect(() => {
    const timer = setInterval(() => setSeconds((old) => old + 1), 1000);
    return () => clearInterval(timer);
  }, []);

  /** In words that change seldom: they are read out. */
  function standing(found: Place | null): string {
    if (silent) return t("silent");
    if (found === null) return t("underWay");
    if (found.state === "finishing") return t("finishing");
    if (found.state !== "waiting" || found.ahead === null) return t("making");
    return t("ahead", { count: found.ahead });
  }

  return (
    <div className="waiting">
      <p>
        <span role="status" aria-label={name}>
          {standing(place)}
        </span>
        {done > 0 && `, ${done} %`}
        {typeof left === "number" ? (
          t("secondsLeft", { seconds: Math.max(1, Math.round(left)) })
        ) : (
          <span aria-hidden="true">{t("for", { seconds })}</span>
        )}
      </p>
      <progress aria-label={t("progressOf", { name })} max={100} {...(done > 0 ? { value: done } : {})} />
      <div className="actions">
        <button type="button" onClick={cancel} aria-label={t("cancelOf", { name })}>
          {t("cancel")}
        </button>
      </div>
    </div>
  );
}
