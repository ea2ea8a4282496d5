import type { Made } from "../making/request";
import { close, element, exchange, mediaOf, start, usePlayer, type Side } from "./player";
import type { Playable } from "./playable";
import { soundUrl } from "./sound";

const SIDES: Side[] = ["a", "b"];

/** Goes on with the whole file of a track that was heard while it was made, at the same position. */
export async function goOnWith({ id, src, seconds }: Made): Promise<void> {
  const side = sideOf(id);
  const live = side && usePlayer.getState()[side];
  if (!side || !live) return;
  const whole: Playable = { ...live, src, seconds, format: "wav", live: false };
  const next = element(side);
  next.src = await soundUrl(whole);
  await new Promise((settled) => {
    for (const event of ["canplay", "error"]) next.addEventListener(event, settled, { once: true });
  });
  const { active, failed, [side]: now } = usePlayer.getState();
  if (now !== live) return;
  const old = mediaOf(side);
  const plays = active === side && (!old.paused || failed); // one that broke off, too
  next.volume = old.volume;
  next.currentTime = old.ended ? 0 : old.currentTime;
  exchange(side, whole, next);
  if (plays) await start(next);
  old.pause();
  old.removeAttribute("src");
  old.load();
}

/** Takes a track that is not made off the player. */
export function giveUp(trackId: string | null): void {
  if (trackId !== null && sideOf(trackId)) close();
}

/** The side on which a track is heard while it is made. */
function sideOf(id: string | null): Side | undefined {
  const state = usePlayer.getState();
  return SIDES.find((side) => state[side]?.live && state[side].id === id);
}
