import { cache } from "react";
import type { LibraryTrack } from "../client";
import { serviceRoot } from "./addresses";
import { Problem } from "./problem";
import { send } from "./upstream";

const TRACK_ID = /^[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)+$/;

/** The library's record of a track, for the pages that are made on the server; null if there is none. Throws Problem. */
export const storedTrack = cache(async (id: string): Promise<LibraryTrack | null> => {
  const root = serviceRoot();
  if (root === null || !TRACK_ID.test(id)) return null;
  const answer = await send(`${root}/tracks/${id}`, { headers: { accept: "application/json" } });
  if (answer.status === 404) return null;
  const said = (await answer.json()) as LibraryTrack | { error?: string };
  if (answer.ok) return "output_path" in said ? said : null;
  throw new Problem(answer.status, ("error" in said && said.error) || `the music service answered ${answer.status}`);
});

/** A track's waveform, 0 to 1; empty if there is none. */
export async function storedPeaks(id: string): Promise<number[]> {
  const root = serviceRoot();
  if (root === null || !TRACK_ID.test(id)) return [];
  const answer = await send(`${root}/tracks/${id}/peaks`, {});
  return answer.ok ? ((await answer.json()) as { peaks: number[] }).peaks : [];
}
