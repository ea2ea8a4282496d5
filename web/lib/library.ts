import { answered, passwordHeader, service, type LibraryTrack } from "./client";
import { Failure } from "./failure";
import { usePassword, wantsPassword } from "./password";
import type { operations } from "./schema";

type Query = NonNullable<operations["get_tracks"]["parameters"]["query"]>;
type Page = { tracks: LibraryTrack[]; next_cursor: string | null };

const MAX_EMPTY_PAGES = 5;

/** The next page that has tracks: with a filter, pages before the end may be empty. */
export async function nextPage(query: Query, signal?: AbortSignal): Promise<Page> {
  let page = await listed(query, signal);
  for (let empty = 1; empty < MAX_EMPTY_PAGES && page.tracks.length === 0 && page.next_cursor !== null; empty++) {
    page = await listed({ ...query, cursor: page.next_cursor }, signal);
  }
  return page;
}

function listed(query: Query, signal?: AbortSignal): Promise<Page> {
  const init = signal ? { signal } : {};
  return guarded((headers) => answered(service.GET("/tracks", { params: { query }, headers, ...init })));
}

export function changeTrack(id: string, body: { title?: string; liked?: boolean }): Promise<LibraryTrack> {
  const params = { path: { track_id: id } };
  return guarded((headers) => answered(service.PATCH("/tracks/{track_id}", { params, body, headers })));
}

export async function deleteTrack(id: string): Promise<void> {
  const params = { path: { track_id: id } };
  await guarded((headers) => answered(service.DELETE("/tracks/{track_id}", { params, headers })));
}

/** Throws if it is not there, or not made yet. */
export async function storedTrack(id: string): Promise<LibraryTrack> {
  const track = await answered(service.GET("/tracks/{track_id}", { params: { path: { track_id: id } } }));
  if (!("output_path" in track)) throw new Failure("unexpectedStatus", { status: 404 });
  return track;
}

/** The tracks that were edited from this one, the newest first. */
export async function editsOf(id: string): Promise<LibraryTrack[]> {
  return (await listed({ parent: id })).tracks;
}

/** Tracks that the same request made with another seed, the newest first. */
export async function otherTakesOf(track: LibraryTrack): Promise<LibraryTrack[]> {
  const { tracks } = await listed({ text: track.prompt.slice(0, MAX_TEXT), limit: 100 });
  const request = requestOf(track);
  return tracks.filter((each) => each.track_id !== track.track_id && requestOf(each) === request);
}

const MAX_TEXT = 200;

function requestOf({ prompt, options, backend, twins }: LibraryTrack): string {
  const named = Object.entries({ ...options, seed: null }).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([prompt, backend, twins.map((twin) => twin.version), named]);
}

/** A request with the app's password. If that is missing or wrong, the pages ask for it. */
async function guarded<T>(call: (headers: Record<string, string>) => Promise<T>): Promise<T> {
  try {
    return await call(passwordHeader(usePassword.getState().password));
  } catch (error) {
    if (wantsPassword(error)) usePassword.setState({ wanted: true });
    throw error;
  }
}
