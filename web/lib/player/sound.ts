import type { Playable } from "./playable";

const MAX_KEPT = 12;
const OPUS = 'audio/ogg; codecs="opus"';

/** Whether this browser plays what the service sends of a track while it is made. */
export const playsOpus = (): boolean => new Audio().canPlayType(OPUS) !== "";

const kept = new Map<string, Promise<string>>();

/**
 * A URL of the sound for an audio element. Losslessly stored tracks are fetched as Opus, a tenth of the size, and kept
 * whole, so that a player can jump at once. Where the service does not convert the track it is the stored file's URL.
 */
export function soundUrl(sound: Playable): Promise<string> {
  if (sound.live) return Promise.resolve(sound.src);
  const known = kept.get(sound.id);
  if (known) return known;
  const found = sound.format === "wav" || sound.format === "flac" ? opus(sound.src) : Promise.resolve(sound.src);
  kept.set(sound.id, found);
  const oldest = kept.keys().next().value;
  if (kept.size > MAX_KEPT && oldest !== undefined) forget(oldest);
  return found;
}

function forget(id: string): void {
  void kept.get(id)?.then((url) => URL.revokeObjectURL(url));
  kept.delete(id);
}

async function opus(src: string): Promise<string> {
  if (!playsOpus()) return src;
  const answer = await fetch(`${src}?format=opus`).catch(() => null);
  return answer?.ok ? URL.createObjectURL(await answer.blob()) : src;
}
