import type { StoredTrack } from "producer-twin";
import { here } from "../client";

/**
 * A sound that the player can play.
 *
 * `zero` is the position in it, in seconds, where the recording begins that it has in common with its parent: an
 * extension has new music before it.
 */
export type Playable = {
  id: string;
  title: string;
  src: string;
  seconds: number;
  zero: number;
  /** The format of the stored file; null for a sound that is not in the library. */
  format: StoredTrack["output_format"] | null;
};

export const titleOf = (track: StoredTrack): string => track.title ?? track.prompt;

export function playableOf(track: StoredTrack): Playable {
  const before = track.task === "extend" ? track.options.before : 0;
  return {
    id: track.track_id,
    title: titleOf(track),
    src: here(track.output_path),
    seconds: track.duration_seconds,
    zero: typeof before === "number" ? before : 0,
    format: track.output_format,
  };
}
