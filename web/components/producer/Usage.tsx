"use client";

import { useTranslations } from "next-intl";
import type { TwinUsage } from "producer-twin";
import { useEffect, useState } from "react";
import { asking } from "@/lib/asking";
import { api } from "@/lib/client";
import { Notice } from "../Notice";

/** How often a producer's twins were used, by month. */
export function Usage({ producer }: { producer: string }) {
  const t = useTranslations("usage");
  const [uses, setUses] = useState<TwinUsage[]>([]);
  const [trouble, setTrouble] = useState<unknown>(null);

  useEffect(
    () => asking({ ask: (signal) => api.producers.usage(producer, { signal }), take: ({ usage }) => setUses(usage), trouble: setTrouble }),
    [producer],
  );

  if (uses.length === 0) return <Notice>{trouble}</Notice>;
  return (
    <section className="panel" aria-labelledby="usage">
      <h2 id="usage">{t("title")}</h2>
      <table>
        <thead>
          <tr>
            {(["month", "twin", "tracks", "seconds"] as const).map((column) => (
              <th key={column} scope="col">
                {t(column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {uses.map((use) => (
            <tr key={`${use.month} ${use.lora_id}`}>
              <td>{use.month}</td>
              <td>{use.lora_id}</td>
              <td>{use.tracks}</td>
              <td>{Math.round(use.seconds)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
