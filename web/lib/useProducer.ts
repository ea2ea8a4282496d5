"use client";

import { useCallback, useEffect, useState } from "react";
import type { Job, ProducerStorage, Twin } from "producer-twin";
import { api, isAbort } from "./client";
import { Failure } from "./failure";
import { wantsPassword } from "./password";

const TIMEOUT_MILLISECONDS = 15_000;
const RETRY_MILLISECONDS = 3000;

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
    const leaving = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      try {
        const found = await everythingOf(producer, leaving.signal);
        setListed({ producer, round, ...found });
        setTrouble(null);
      } catch (error) {
        if (leaving.signal.aborted) return;
        setTrouble(isAbort(error) || isTimeout(error) ? new Failure("serviceAway") : error);
        if (!wantsPassword(error)) timer = setTimeout(() => void ask(), RETRY_MILLISECONDS);
      }
    };
    void ask();
    return () => {
      leaving.abort();
      clearTimeout(timer);
    };
  }, [producer, password, round]);

  const list = useCallback(() => setRound((old) => old + 1), []);
  return { listed: listed?.producer === producer ? listed : null, trouble: producer ? trouble : null, list };
}

async function everythingOf(producer: string, leaving: AbortSignal): Promise<Pick<Listed, "jobs" | "twins" | "stored">> {
  const options = { signal: AbortSignal.any([leaving, AbortSignal.timeout(TIMEOUT_MILLISECONDS)]) };
  const [jobs, twins, stored] = await Promise.all([
    api.jobs.list({ producer_id: producer }, options),
    api.twins.list({ producer_id: producer }, options),
    api.producers.storage(producer, options).catch(() => null),
  ]);
  return { jobs, twins, stored };
}

const isTimeout = (error: unknown): boolean => error instanceof DOMException && error.name === "TimeoutError";
