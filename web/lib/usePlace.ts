"use client";

import { useEffect, useState } from "react";
import { answered, service, type Place } from "./client";

const SOONEST_MILLISECONDS = 1000;
const LATEST_MILLISECONDS = 10_000;

/** Where the track stands that was asked for under this id: asked the more often the nearer it is. */
export function usePlace(id: string | null): Place | null {
  const [place, setPlace] = useState<Place | null>(null);

  useEffect(() => {
    if (id === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stopped = false;
    const look = async (): Promise<void> => {
      // Whoever does not answer, or does not know it, says nothing about the track: what was known is kept.
      const found = await answered(service.GET("/queue/{request_id}", { params: { path: { request_id: id } } })).catch(() => null);
      if (stopped) return;
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

  return place;
}
