"use client";

import { useEffect, useState } from "react";
import type { Point } from "./report";
import { answered, service, type Job } from "./client";

const POLL_MILLISECONDS = 2000;
const ENDED = new Set<Job["state"]>(["done", "failed", "cancelled"]);

export const hasEnded = (job: Job): boolean => ENDED.has(job.state);

/** A job, and its losses since it is watched. */
type Course = { job: Job; loss: Point[]; heldOut: Point[] };

/** A job as it goes on: by the service's events, or by asking again where events do not come through. */
export function useJob(first: Job): Course & { trouble: unknown } {
  const [course, setCourse] = useState<Course>({ job: first, loss: [], heldOut: [] });
  const [trouble, setTrouble] = useState<unknown>(null);
  const id = first.job_id;
  const waits = !hasEnded(course.job);
  // Browsers keep few connections open to a server, and many jobs may wait for their turn.
  const listens = waits && course.job.state !== "queued";

  useEffect(() => {
    if (!waits) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stopped = false;
    const take = (job: Job): void => {
      setCourse((old) => ({
        job,
        loss: longer(old.loss, job.step, job.loss),
        heldOut: longer(old.heldOut, job.step, job.held_out_loss),
      }));
      setTrouble(null);
    };
    const ask = async (): Promise<void> => {
      try {
        const job = await answered(service.GET("/jobs/{job_id}", { params: { path: { job_id: id } } }));
        if (stopped) return;
        take(job);
        if (hasEnded(job)) return;
      } catch (error) {
        if (stopped) return;
        setTrouble(error);
      }
      timer = setTimeout(() => void ask(), POLL_MILLISECONDS);
    };
    if (!listens) {
      void ask();
      return () => {
        stopped = true;
        clearTimeout(timer);
      };
    }
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
  }, [id, waits, listens]);

  return { ...course, trouble };
}

/** What is new at the step is added. */
function longer(points: Point[], step: number | null, value: number | null): Point[] {
  const [lastStep, lastValue] = points.at(-1) ?? [-1, null];
  return step === null || value === null || step <= lastStep || value === lastValue ? points : [...points, [step, value]];
}
