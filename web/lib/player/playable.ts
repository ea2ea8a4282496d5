import type { StoredTrack } from "producer-twin";
import { here } from "../client";
import type { TrackRequest } from "../making/requests";

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
  /** It is heard while it is made. */
  live?: boolean;
};

export const titleOf = (track: StoredTrack): string => track.title ?? track.prompt;

/** A track that is being made, of a request with `stream`, as a sound. Its length is what was asked for. */
export function liveSound({ trackId, body }: TrackRequest): Playable | null {
  if (trackId === null) return null;
  return {
    id: trackId,
    title: body.prompt,
    src: here(`/tracks/${trackId}/stream`),
    seconds: body.duration_seconds ?? 0,
    zero: 0,
    format: null,
    live: true,
  };
}

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
