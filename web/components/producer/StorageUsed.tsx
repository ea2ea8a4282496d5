"use client";

import { useFormatter, useTranslations } from "next-intl";
import type { ProducerStorage } from "producer-twin";

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

/** The storage that a producer uses, by kind, and the limit if there is one. */
export function StorageUsed({ stored }: { stored: ProducerStorage }) {
  const t = useTranslations("storage");
  const format = useFormatter();
  const size = (bytes: number): string => {
    const unit = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
    return format.number(bytes / 1000 ** unit, { style: "unit", unit: UNITS[unit], maximumFractionDigits: 1 });
  };
  const kinds = Object.entries(stored.by).sort(([, one], [, other]) => other - one);
  return (
    <section className="panel storage" aria-labelledby="storage">
      <h2 id="storage">{t("title")}</h2>
      <p>
        {stored.limit === null ? t("used", { size: size(stored.bytes) }) : t("usedOf", { size: size(stored.bytes), limit: size(stored.limit) })}
      </p>
      {stored.limit !== null && <meter aria-label={t("title")} min={0} max={stored.limit} high={0.9 * stored.limit} value={stored.bytes} />}
      <ul className="hint">
        {kinds.map(([kind, bytes]) => (
          <li key={kind}>
            {t.has(`kinds.${kind as "uploads"}`) ? t(`kinds.${kind as "uploads"}`) : kind}: {size(bytes)}
          </li>
        ))}
      </ul>
    </section>
  );
}
