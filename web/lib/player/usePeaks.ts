"use client";

import { useEffect, useState } from "react";
import { api } from "../client";
import type { Playable } from "./playable";

const known = new Map<string, Promise<number[] | null>>();

/** A sound's waveform by the service; undefined until it is there, null for a sound that the library does not have. */
export function usePeaks(sound: Playable): number[] | null | undefined {
  const [found, setFound] = useState<{ id: string; peaks: number[] | null }>();
  const { id } = sound;
  const stored = sound.format !== null;

  useEffect(() => {
    let gone = false;
    const asked = stored ? (known.get(id) ?? ask(id)) : Promise.resolve(null);
    if (stored) known.set(id, asked);
    void asked.then((peaks) => {
      if (!gone) setFound({ id, peaks });
    });
    return () => {
      gone = true;
    };
  }, [id, stored]);

  return found?.id === id ? found.peaks : undefined;
}

async function ask(id: string): Promise<number[] | null> {
  const answer = await api.tracks.peaks(id).catch(() => null);
  return answer?.peaks ?? null;
}
