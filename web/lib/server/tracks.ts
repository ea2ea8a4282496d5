import { ApiError, type StoredTrack } from "producer-twin";
import { cache } from "react";
import { problemOf, service } from "./service";

const TRACK_ID = /^[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)+$/;

/** The library's record of a track, for the pages that are made on the server; null if there is none. Throws Problem. */
export const storedTrack = cache(async (id: string): Promise<StoredTrack | null> => {
  const client = service();
  if (client === null || !TRACK_ID.test(id)) return null;
  try {
    const track = await client.tracks.get(id);
    return "state" in track ? null : track;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw problemOf(error);
  }
});

/** A track's waveform, 0 to 1; empty if there is none. */
export async function storedPeaks(id: string): Promise<number[]> {
  const client = service();
  if (client === null || !TRACK_ID.test(id)) return [];
  try {
    return (await client.tracks.peaks(id)).peaks;
  } catch (error) {
    if (error instanceof ApiError) return [];
    throw problemOf(error);
  }
}
