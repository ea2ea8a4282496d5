"use client";

import { create } from "zustand";
import { createJSONStorage, persist } from "zustand/middleware";
import { answered, isAbort, service, ServiceError, type GenerateRequest } from "../client";
import { Failure } from "../failure";
import { nextPage } from "../library";
import { randomId } from "../random";
import { generate, generatePlainly, madeOf, troubleOf, type Made, type Trouble } from "./request";

const MAX_KEPT = 30;
const MAX_SEED = 2 ** 32;
const MAX_SEARCHED_CHARACTERS = 200;
const POLL_MILLISECONDS = 2000;
const CLOCKS_MILLISECONDS = 60_000; // by which the service's clock may differ from the browser's

/**
 * A request for tracks.
 *
 * `pair` is the same for the requests with and without a twin. `parent` is the track that is edited. `plain`: by the
 * route that every deployment has. A request is `lost` if the page was closed while the service worked on it.
 */
export type TrackRequest = {
  id: string;
  number: number;
  askedAt: number;
  body: GenerateRequest;
  state: "underWay" | "made" | "failed" | "lost";
  made: Made[];
  trouble: Trouble | null;
  pair: string | null;
  parent: string | null;
  plain: boolean;
};

type Kind = Partial<Pick<TrackRequest, "pair" | "parent" | "plain">>;

type Requests = { requests: TrackRequest[]; count: number };

/** The requests of this tab, the newest first. They outlive a reload. */
export const useRequests = create<Requests>()(
  persist((): Requests => ({ requests: [], count: 0 }), {
    name: "producer-twin.requests",
    version: 1,
    storage: createJSONStorage(() => sessionStorage),
    skipHydration: true,
    partialize: ({ requests, count }) => ({ requests: requests.filter(({ plain }) => !plain), count }),
    onRehydrateStorage: () => (state) => {
      for (const request of state?.requests ?? []) if (request.state === "underWay") void recover(request);
    },
  }),
);

const leaving = new Map<string, AbortController>();

/** Sends a request. Its seed is drawn here if it has none, so that its tracks can be found in the library. */
export function ask(body: GenerateRequest, kind: Kind = {}): void {
  const { requests, count } = useRequests.getState();
  const seeded = { ...body, seed: body.seed ?? randomSeed() };
  const request: TrackRequest = {
    id: randomId(),
    number: count + 1,
    askedAt: Date.now(),
    body: seeded,
    state: "underWay",
    made: [],
    trouble: null,
    pair: null,
    parent: null,
    plain: false,
    ...kind,
  };
  useRequests.setState({ requests: [request, ...requests].slice(0, MAX_KEPT), count: count + 1 });
  void send(request);
}

export function randomSeed(): number {
  return Math.floor((crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) % MAX_SEED);
}

/** Sends a request that failed or was lost once more. */
export function retry(old: TrackRequest): void {
  const request: TrackRequest = { ...old, id: randomId(), askedAt: Date.now(), state: "underWay", trouble: null };
  useRequests.setState(({ requests }) => ({ requests: requests.map((each) => (each.id === old.id ? request : each)) }));
  void send(request);
}

/** Takes a request off the list. What is under way ends at the service. */
export function dismiss({ id }: TrackRequest): void {
  leaving.get(id)?.abort();
  useRequests.setState(({ requests }) => ({ requests: requests.filter((each) => each.id !== id) }));
}

async function send({ id, body, plain }: TrackRequest): Promise<void> {
  const controller = new AbortController();
  leaving.set(id, controller);
  try {
    const { signal } = controller;
    change(id, { state: "made", made: await (plain ? generatePlainly(body, signal) : generate(body, id, signal)) });
  } catch (error) {
    if (isAbort(error)) return;
    // A page that is left fails its requests before it is gone. Such a request stays under way, to be followed later.
    if (error instanceof Failure && error.reason === "appAway") await pause();
    change(id, { state: "failed", trouble: troubleOf(error) });
  } finally {
    leaving.delete(id);
  }
}

function change(id: string, news: Partial<TrackRequest>): void {
  useRequests.setState(({ requests }) => ({
    requests: requests.map((each) => (each.id === id ? { ...each, ...news } : each)),
  }));
}

/** Follows a request whose page was closed, until the service has ended it; its tracks may be in the library. */
async function recover(request: TrackRequest): Promise<void> {
  const { id } = request;
  while (await isQueued(id)) await pause();
  let made = await inLibrary(request);
  if (made.length === 0) {
    await pause();
    made = await inLibrary(request);
  }
  change(id, made.length > 0 ? { state: "made", made } : { state: "lost" });
}

const pause = (): Promise<void> => new Promise((on) => setTimeout(on, POLL_MILLISECONDS));

async function isQueued(id: string): Promise<boolean> {
  try {
    await answered(service.GET("/queue/{request_id}", { params: { path: { request_id: id } } }));
    return true;
  } catch (error) {
    return !(error instanceof ServiceError && error.status === 404);
  }
}

async function inLibrary({ body, askedAt }: TrackRequest): Promise<Made[]> {
  const first = body.seed ?? 0;
  const { tracks } = await nextPage({ text: body.prompt.slice(0, MAX_SEARCHED_CHARACTERS) }).catch(() => ({ tracks: [] }));
  return tracks
    .filter(({ seed, created_at, prompt }) => {
      const isOf = prompt === body.prompt && (seed - first + MAX_SEED) % MAX_SEED < (body.takes ?? 1);
      return isOf && Date.parse(created_at) > askedAt - CLOCKS_MILLISECONDS;
    })
    .map(madeOf);
}
