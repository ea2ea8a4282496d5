"use client";

import { newId, type GenerateRequest } from "producer-twin";
import { create } from "zustand";
import { createJSONStorage, persist } from "zustand/middleware";
import type { Made, Trouble } from "./request";

const MAX_KEPT = 30;
const MAX_SEED = 2 ** 32;
const STORE = "producer-twin.requests";

/**
 * A request for tracks.
 *
 * `id` is its `Idempotency-Key`, and `trackId` the id that the service answered, null before. `pair` is the same for the
 * requests with and without a twin. `parent` is the track that is edited. `plain`: by the route that every deployment has,
 * which makes the track while the page waits.
 */
export type TrackRequest = {
  id: string;
  trackId: string | null;
  number: number;
  askedAt: number;
  body: GenerateRequest;
  state: "underWay" | "made" | "failed";
  made: Made[];
  trouble: Trouble | null;
  pair: string | null;
  parent: string | null;
  plain: boolean;
};

type Kind = Partial<Pick<TrackRequest, "pair" | "parent" | "plain">>;

type Requests = { requests: TrackRequest[]; count: number };

/** The requests of this browser, the newest first. */
export const useRequests = create<Requests>()(
  persist((): Requests => ({ requests: [], count: 0 }), {
    name: STORE,
    version: 1,
    storage: createJSONStorage(() => localStorage),
    skipHydration: true, // the page that the server made has none
    partialize: ({ requests, count }) => ({ requests: requests.filter(({ plain }) => !plain), count }),
    merge: (stored, { requests, count }) => {
      const kept = (stored ?? { requests: [], count: 0 }) as Requests;
      const all = [...requests.filter(({ plain }) => plain), ...kept.requests];
      return { requests: all.sort((one, other) => other.number - one.number), count: Math.max(kept.count, count) };
    },
  }),
);

/** Brings what this browser's tabs have stored. */
export function readRequests(): void {
  void useRequests.persist?.rehydrate(); // a browser that keeps nothing has no storage
}

/** Calls `read` when another tab has stored something. Returns what ends that. */
export function onOtherTabs(read: () => void): () => void {
  const note = ({ key }: StorageEvent): void => {
    if (key === STORE || key === null) read();
  };
  window.addEventListener("storage", note);
  return () => window.removeEventListener("storage", note);
}

/** The requests of this page, which sends them; another tab waits for it. */
const own = new Set<string>();

export const isOwn = ({ id }: TrackRequest): boolean => own.has(id);

const unseen = new Set<string>();

/** Marks requests as seen. Returns whether one of them was not yet. */
export const markSeen = (requests: TrackRequest[]): boolean => requests.filter(({ id }) => unseen.delete(id)).length > 0;

/** Asks for tracks, and returns the request's id. A seed is drawn if there is none, which "Same seed again" then has. */
export function ask(body: GenerateRequest, kind: Kind = {}): string {
  const id = newId();
  own.add(id);
  unseen.add(id);
  readRequests();
  useRequests.setState(({ requests, count }) => {
    const request: TrackRequest = {
      id,
      trackId: null,
      number: count + 1,
      askedAt: Date.now(),
      body: { ...body, seed: body.seed ?? randomSeed() },
      state: "underWay",
      made: [],
      trouble: null,
      pair: null,
      parent: null,
      plain: false,
      ...kind,
    };
    const kept = requests.filter(({ state }, index) => index < MAX_KEPT - 1 || state === "underWay");
    return { requests: [request, ...kept], count: count + 1 };
  });
  return id;
}

export function randomSeed(): number {
  return Math.floor((crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) % MAX_SEED);
}

/** Asks once more for what failed. One that the service has not answered keeps its key: it may have been taken. */
export function retry({ id, trackId }: TrackRequest): void {
  const next = trackId === null ? id : newId();
  own.add(next);
  change(id, { id: next, trackId: null, askedAt: Date.now(), state: "underWay", trouble: null });
}

export function change(id: string, news: Partial<TrackRequest>): void {
  readRequests();
  useRequests.setState(({ requests }) => ({ requests: requests.map((each) => (each.id === id ? { ...each, ...news } : each)) }));
}

/** Takes a request off the list. */
export function dismiss({ id }: TrackRequest): void {
  readRequests();
  useRequests.setState(({ requests }) => ({ requests: requests.filter((each) => each.id !== id) }));
}

/** Forgets all requests. What is under way goes on at the service. */
export function forgetRequests(): void {
  useRequests.setState({ requests: [], count: 0 });
  useRequests.persist?.clearStorage();
}
