import { ApiError, type StoredTrack, type TrackChanges, type TrackFilter, type TrackPage } from "producer-twin";
import { api } from "./client";
import { Failure } from "./failure";
import { usePassword, wantsPassword } from "./password";

const MAX_EMPTY_PAGES = 5;

type PageOptions = { cursor?: string; limit?: number; signal?: AbortSignal };

/** The next page that has tracks: with a filter, pages before the end may be empty. */
export async function nextPage(filter: TrackFilter, options: PageOptions = {}): Promise<TrackPage> {
  let page = await listed(filter, options);
  for (let empty = 1; empty < MAX_EMPTY_PAGES && page.tracks.length === 0 && page.next_cursor !== null; empty++) {
    page = await listed(filter, { ...options, cursor: page.next_cursor });
  }
  return page;
}

function listed(filter: TrackFilter, options: PageOptions = {}): Promise<TrackPage> {
  return guarded(() => api.tracks.list(filter, options));
}

export function changeTrack(id: string, changes: TrackChanges): Promise<StoredTrack> {
  return guarded(() => api.tracks.change(id, changes));
}

/** Deletes a track, or cancels one that is not made yet. */
export async function deleteTrack(id: string): Promise<void> {
  await guarded(() => api.tracks.delete(id));
}

type Signalled = Pick<PageOptions, "signal">;

/** Throws if it is not there, or not made yet. */
export async function storedTrack(id: string, options: Signalled = {}): Promise<StoredTrack> {
  const track = await api.tracks.get(id, options);
  if ("state" in track) throw new Failure("unexpectedStatus", { status: 404 });
  return track;
}

/** Whether an error says that what was asked for is not there. */
export const isMissing = (error: unknown): boolean => error instanceof ApiError && error.status === 404;

/** The tracks that were edited from this one, the newest first. */
export async function editsOf(id: string, options: Signalled = {}): Promise<StoredTrack[]> {
  return (await listed({ parent: id }, options)).tracks;
}

/** Tracks that the same request made with another seed, the newest first. */
export async function otherTakesOf(track: StoredTrack, options: Signalled = {}): Promise<StoredTrack[]> {
  const { tracks } = await listed({ text: track.prompt.slice(0, MAX_TEXT) }, { ...options, limit: 100 });
  const request = requestOf(track);
  return tracks.filter((each) => each.track_id !== track.track_id && requestOf(each) === request);
}

const MAX_TEXT = 200;

function requestOf({ prompt, options, backend, twins }: StoredTrack): string {
  const named = Object.entries({ ...options, seed: null }).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([prompt, backend, twins.map((twin) => twin.version), named]);
}

/** A request that may need the app's password. If that is missing or wrong, the pages ask for it. */
async function guarded<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (wantsPassword(error)) usePassword.setState({ wanted: true });
    throw error;
  }
}
