"use client";

import { useCallback, useEffect, useState } from "react";
import type { Job, ProducerStorage, Twin } from "producer-twin";
import { asking } from "./asking";
import { api } from "./client";

/** `round` is another one each time that it was listed. `stored` is null where the service does not say. */
export type Listed = { producer: string; round: number; jobs: Job[]; twins: Twin[]; stored: ProducerStorage | null };

/**
 * What a producer has: trainings, twins and storage used; null until it is known, and for an empty id. It is asked for again
 * by `list`, with another password, and by itself as long as the service does not answer.
 */
export function useProducer(producer: string, password: string): { listed: Listed | null; trouble: unknown; list: () => void } {
  const [listed, setListed] = useState<Listed | null>(null);
  const [trouble, setTrouble] = useState<unknown>(null);
  const [round, setRound] = useState(0);

  useEffect(() => {
    if (!producer) return;
    return asking({
      ask: (signal) => everythingOf(producer, signal),
      take: (found) => setListed({ producer, round, ...found }),
      trouble: setTrouble,
    });
  }, [producer, password, round]);

  const list = useCallback(() => setRound((old) => old + 1), []);
  return { listed: listed?.producer === producer ? listed : null, trouble: producer ? trouble : null, list };
}

async function everythingOf(producer: string, signal: AbortSignal): Promise<Pick<Listed, "jobs" | "twins" | "stored">> {
  const [jobs, twins, stored] = await Promise.all([
    api.jobs.list({ producer_id: producer }, { signal }),
    api.twins.list({ producer_id: producer }, { signal }),
    api.producers.storage(producer, { signal }).catch(() => null),
  ]);
  return { jobs, twins, stored };
}
