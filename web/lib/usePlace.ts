"use client";

import { useEffect, useState } from "react";
import { answered, service, ServiceError, type Place } from "./client";

const SOONEST_MILLISECONDS = 1000;
const LATEST_MILLISECONDS = 10_000;

const SILENT_MILLISECONDS = 60_000;

/**
 * Where the track stands that was asked for under this id: asked the more often the nearer it is. `silent`: the service
 * has not answered for a minute.
 */
export function usePlace(id: string | null): { place: Place | null; silent: boolean } {
  const [place, setPlace] = useState<Place | null>(null);
  const [silent, setSilent] = useState(false);

  useEffect(() => {
    if (id === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stopped = false;
    let heard = Date.now();
    const look = async (): Promise<void> => {
      // A server that does not know the request says nothing about the track: the last answer is kept.
      const signal = AbortSignal.timeout(LATEST_MILLISECONDS);
      const found = await answered(
        service.GET("/queue/{request_id}", { params: { path: { request_id: id } }, signal }),
      ).catch((error: unknown) => {
        if (error instanceof ServiceError && error.status === 404) heard = Date.now();
        return null;
      });
      if (stopped) return;
      if (found) heard = Date.now();
      setSilent(Date.now() - heard > SILENT_MILLISECONDS);
      if (found && found.state !== "unknown") setPlace(found);
      const wait = 100 * (found?.seconds_left ?? 0);
      timer = setTimeout(() => void look(), Math.min(LATEST_MILLISECONDS, Math.max(SOONEST_MILLISECONDS, wait)));
    };
    timer = setTimeout(() => void look(), SOONEST_MILLISECONDS / 4);
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [id]);

  return { place, silent };
}
