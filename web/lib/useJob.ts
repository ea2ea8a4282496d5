"use client";

import { useEffect, useState } from "react";
import { answered, service, words, type Job } from "./client";

const POLL_MILLISECONDS = 2000;
const ENDED = new Set<Job["state"]>(["done", "failed", "cancelled"]);

export const hasEnded = (job: Job): boolean => ENDED.has(job.state);

/**
 * A job as it goes on: by the service's events, or by asking again where events do not come through.
 * `round` begins anew, after a resume.
 */
export function useJob(first: Job, round: number): { job: Job; trouble: string | null } {
  const [news, setNews] = useState<{ round: number; job: Job } | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const id = first.job_id;
  const waits = round > 0 || !hasEnded(first);

  useEffect(() => {
    if (!waits) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stopped = false;
    const take = (job: Job): void => {
      setNews({ round, job });
      setTrouble(null);
      if (hasEnded(job)) events.close();
    };
    const ask = async (): Promise<void> => {
      try {
        const job = await answered(service.GET("/jobs/{job_id}", { params: { path: { job_id: id } } }));
        if (stopped) return;
        take(job);
        if (hasEnded(job)) return;
      } catch (error) {
        if (stopped) return;
        setTrouble(words(error));
      }
      timer = setTimeout(() => void ask(), POLL_MILLISECONDS);
    };
    const events = new EventSource(`/api/service/jobs/${encodeURIComponent(id)}/events`);
    events.onmessage = (event: MessageEvent<string>) => take(JSON.parse(event.data) as Job);
    events.onerror = () => {
      // Closed for good: the browser comes again by itself in every other case.
      if (events.readyState === EventSource.CLOSED && timer === undefined) void ask();
    };
    return () => {
      stopped = true;
      events.close();
      clearTimeout(timer);
    };
  }, [id, round, waits]);

  return { job: news && news.round === round ? news.job : first, trouble };
}
