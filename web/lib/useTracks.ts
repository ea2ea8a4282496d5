"use client";

import { useCallback, useEffect, useState } from "react";
import type { StoredTrack, TrackFilter } from "producer-twin";
import { asking, patient } from "./asking";
import { nextPage } from "./library";
import { usePassword } from "./password";

export type Filter = { text: string; twin: string; liked: boolean };

type Listed = { filter: Filter; tracks: StoredTrack[]; cursor: string | null };

/** The library's tracks that pass a filter, a page after the other. A list that failed is asked for again. */
export function useTracks(filter: Filter): {
  tracks: StoredTrack[] | null;
  busy: boolean;
  hasMore: boolean;
  failure: unknown;
  more: () => Promise<void>;
  replace: (track: StoredTrack) => void;
  remove: (id: string) => void;
} {
  const [listed, setListed] = useState<Listed | null>(null);
  const [failure, setFailure] = useState<unknown>(null);
  const password = usePassword((state) => state.password);

  useEffect(
    () =>
      asking({
        ask: (signal) => nextPage(queryOf(filter), { signal }),
        take: (page) => setListed({ filter, tracks: page.tracks, cursor: page.next_cursor }),
        trouble: setFailure,
      }),
    [filter, password],
  );

  const cursor = listed?.filter === filter ? listed.cursor : null;
  const more = useCallback(async (): Promise<void> => {
    if (cursor === null) return;
    try {
      const page = await nextPage(queryOf(filter), { cursor, signal: patient() });
      setListed((old) =>
        old?.cursor === cursor ? { filter, tracks: [...old.tracks, ...page.tracks], cursor: page.next_cursor } : old,
      );
      setFailure(null);
    } catch (error) {
      setFailure(error);
    }
  }, [filter, cursor]);

  const change = (changed: (tracks: StoredTrack[]) => StoredTrack[]): void =>
    setListed((old) => old && { ...old, tracks: changed(old.tracks) });
  return {
    tracks: listed?.tracks ?? null,
    busy: listed?.filter !== filter,
    hasMore: cursor !== null,
    failure,
    more,
    replace: (track) => change((all) => all.map((each) => (each.track_id === track.track_id ? track : each))),
    remove: (id) => change((all) => all.filter((each) => each.track_id !== id)),
  };
}

function queryOf({ text, twin, liked }: Filter): TrackFilter {
  return { ...(text ? { text } : {}), ...(twin ? { lora_id: twin } : {}), ...(liked ? { liked } : {}) };
}
