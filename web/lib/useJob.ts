"use client";

import { hasEnded, type Job } from "producer-twin";
import { useEffect, useState } from "react";
import { api } from "./client";
import { follow } from "./follow";
import type { Point } from "./report";

/** A job, and its losses since it is watched. */
type Course = { job: Job; loss: Point[]; heldOut: Point[] };

/** A job as it goes on. */
export function useJob(first: Job): Course & { trouble: unknown } {
  const [course, setCourse] = useState<Course>({ job: first, loss: [], heldOut: [] });
  const [trouble, setTrouble] = useState<unknown>(null);
  const id = first.job_id;
  const waits = !hasEnded(course.job);

  useEffect(() => {
    if (!waits) return;
    const leaving = new AbortController();
    const take = (job: Job): void => {
      setCourse((old) => ({
        job,
        loss: longer(old.loss, job.step, job.loss),
        heldOut: longer(old.heldOut, job.step, job.held_out_loss),
      }));
      setTrouble(null);
    };
    const job = {
      events: (signal: AbortSignal) => api.jobs.events(id, { signal, reconnects: 0 }),
      get: (signal: AbortSignal) => api.jobs.get(id, { signal }),
      isLast: hasEnded,
      take,
      trouble: setTrouble,
    };
    follow(job, leaving.signal).catch(setTrouble);
    return () => leaving.abort();
  }, [id, waits]);

  return { ...course, trouble };
}

/** What is new at the step is added. */
function longer(points: Point[], step: number | null, value: number | null): Point[] {
  const [lastStep, lastValue] = points.at(-1) ?? [-1, null];
  return step === null || value === null || step <= lastStep || value === lastValue ? points : [...points, [step, value]];
}
