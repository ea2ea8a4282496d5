"use client";

import { ApiError, hasEnded, isUnderWay, type StoredTrack, type SubmittedTrack, Unreachable } from "producer-twin";
import { create } from "zustand";
import { isTimeout, patient } from "../asking";
import { api } from "../client";
import { Failure } from "../failure";
import { follow, pause } from "../follow";
import { deleteTrack, isMissing, storedTrack } from "../library";
import { generatePlainly, madeOf, troubleOf, type Made } from "./request";
import { change, dismiss, isOwn, onOtherTabs, readRequests, useRequests, type TrackRequest } from "./requests";

const PAUSE_MILLISECONDS = 2000;
const MAX_ATTEMPTS = 3;
const SILENT_MILLISECONDS = 60_000;

/** How far the service is with a track. `silent`: it has not answered for a minute. */
export type Position = { track: SubmittedTrack | null; silent: boolean };

const NOWHERE: Position = { track: null, silent: false };
const usePositions = create<Record<string, Position>>()(() => ({}));

export const usePosition = ({ id }: TrackRequest): Position => usePositions((positions) => positions[id] ?? NOWHERE);

/** The tracks that were made last since this page was opened. */
export const useReady = create<{ prompt: string; count: number }>()(() => ({ prompt: "", count: 0 }));

const watched = new Map<string, AbortController>();
const unwanted = new Set<string>();

/** Sends and follows the requests under way, those of other tabs and of pages that were closed too. Returns what ends that. */
export function watchRequests(): () => void {
  const ends = [useRequests.subscribe(watchAll), onOtherTabs(readRequests)];
  readRequests();
  watchAll();
  return () => ends.forEach((end) => end());
}

function watchAll(): void {
  const open = useRequests.getState().requests.filter(({ state }) => state === "underWay");
  for (const [id, controller] of watched) {
    if (open.some((request) => request.id === id)) continue;
    watched.delete(id);
    controller.abort();
  }
  for (const request of open) if (!watched.has(request.id)) void watch(request);
}

async function watch(request: TrackRequest): Promise<void> {
  const { id } = request;
  const controller = new AbortController();
  const { signal } = controller;
  watched.set(id, controller);
  try {
    const made = request.plain ? await generatePlainly(request.body, signal) : await submitted(request, signal);
    if (signal.aborted) return;
    change(id, { state: "made", made });
    if (request.body.stream) void import("../player/live").then(({ goOnWith }) => made.forEach(goOnWith));
    useReady.setState({ prompt: request.body.prompt, count: made.length });
  } catch (error) {
    if (signal.aborted) return;
    change(id, { state: "failed", trouble: troubleOf(error) });
    if (request.body.stream) void hush(trackIdOf(id));
  } finally {
    usePositions.setState((all) => Object.fromEntries(Object.entries(all).filter(([each]) => each !== id)), true);
  }
}

/** Takes a request off the list, and has the service stop. Throws where it cannot be told to. */
export async function cancel(request: TrackRequest): Promise<void> {
  if (request.trackId !== null) {
    await deleteTrack(request.trackId).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  } else if (!request.plain) unwanted.add(request.id);
  dismiss(request);
  if (request.body.stream) void hush(request.trackId);
}

/** Takes a track that is not made off the player. */
async function hush(trackId: string | null): Promise<void> {
  (await import("../player/live")).giveUp(trackId);
}

const trackIdOf = (id: string): string | null =>
  useRequests.getState().requests.find((each) => each.id === id)?.trackId ?? null;

/** The tracks of a request that the service makes, the best first; nothing if it is aborted. Throws an Error. */
async function submitted(request: TrackRequest, signal: AbortSignal): Promise<Made[]> {
  const trackId = await taken(request, signal);
  if (trackId === null) return [];
  const { id } = request;
  let heardAt = Date.now();
  let last: SubmittedTrack | null = null;
  const course = {
    events: (stop: AbortSignal) => api.tracks.events(trackId, { signal: stop, reconnects: 0 }),
    get: async (stop: AbortSignal) => asSubmitted(await api.tracks.get(trackId, { signal: stop })),
    isLast: hasEnded,
    take: (track: SubmittedTrack) => {
      [heardAt, last] = [Date.now(), track];
      usePositions.setState({ [id]: { track, silent: false } });
    },
    trouble: () => {
      if (Date.now() - heardAt > SILENT_MILLISECONDS) usePositions.setState({ [id]: { track: last, silent: true } });
    },
  };
  await follow(course, signal).catch((error: unknown) => {
    throw isMissing(error) ? new Failure("trackGone") : error;
  });
  const ended = last as SubmittedTrack | null; // it is assigned where the compiler does not see it
  if (signal.aborted || ended === null) return [];
  if (ended.state === "cancelled") throw new Failure("trackCancelled");
  if (ended.track === null) throw new Error(ended.error ?? ended.state);
  return allTakes(ended.track, signal);
}

/** The id of the track that the service makes; null if the request is aborted. */
async function taken(request: TrackRequest, signal: AbortSignal): Promise<string | null> {
  const { id, body } = request;
  if (!isOwn(request)) await pause(PAUSE_MILLISECONDS); // the tab that asked may still be at it
  const known = trackIdOf(id);
  if (known !== null || signal.aborted) return known;
  const { prompt, ...options } = body;
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      const { track_id: trackId } = await api.tracks.submit(prompt, options, { idempotencyKey: id, signal: patient() });
      if (unwanted.has(id)) await deleteTrack(trackId);
      else if (!signal.aborted) change(id, { trackId });
      return trackId;
    } catch (error) {
      if (!isWorthAnother(error, attempt)) throw error;
    }
    await pause(PAUSE_MILLISECONDS); // also since a page that is left fails its requests before it is gone
  }
  return null;
}

/** Whether a request with the same key may be answered: the first one's answer was lost, or is still to come. */
function isWorthAnother(error: unknown, attempt: number): boolean {
  if (error instanceof Unreachable || isTimeout(error)) return attempt < MAX_ATTEMPTS;
  return error instanceof ApiError && isUnderWay(error);
}

function asSubmitted(found: StoredTrack | SubmittedTrack): SubmittedTrack {
  if ("state" in found) return found;
  const { track_id, created_at } = found;
  return { track_id, created_at, state: "done", ahead: null, progress: null, seconds_left: null, audible: false, error: null, track: found };
}

/** All takes of a request, by the record of its first one; those that were deleted are left out. */
async function allTakes(first: StoredTrack, signal: AbortSignal): Promise<Made[]> {
  const found = new Map<string, StoredTrack | null>([[first.track_id, first]]);
  const ids = first.takes.length > 0 ? first.takes : [first.track_id];
  for (const id of ids) {
    while (!found.has(id) && !signal.aborted) {
      try {
        found.set(id, await storedTrack(id));
      } catch (error) {
        if (isMissing(error)) found.set(id, null);
        else await pause(PAUSE_MILLISECONDS);
      }
    }
  }
  return ids.flatMap((id) => found.get(id) ?? []).map(madeOf);
}
