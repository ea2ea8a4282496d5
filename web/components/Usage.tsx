"use client";

import { useEffect, useState } from "react";
import { answered, service, words, type Use } from "@/lib/client";
import { Notice } from "./Notice";

/** How often a producer's twins were used, by month. */
export function Usage({ producer }: { producer: string }) {
  const [uses, setUses] = useState<Use[]>([]);
  const [trouble, setTrouble] = useState<string | null>(null);

  useEffect(() => {
    answered(service.GET("/producers/{producer_id}/usage", { params: { path: { producer_id: producer } } })).then(
      ({ usage }) => setUses(usage),
      (error: unknown) => setTrouble(words(error)),
    );
  }, [producer]);

  if (uses.length === 0) return <Notice>{trouble}</Notice>;
  return (
    <section className="panel" aria-labelledby="usage">
      <h2 id="usage">How often your twins were used</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">Month</th>
            <th scope="col">Twin</th>
            <th scope="col">Tracks</th>
            <th scope="col">Seconds</th>
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
