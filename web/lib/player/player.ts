"use client";

import { create } from "zustand";
import { loudnessOf } from "./loudness";
import type { Playable } from "./playable";
import { soundUrl } from "./sound";

export type Side = "a" | "b";
/** A part of the active sound, in seconds. */
export type Region = { start: number; end: number };

/**
 * The one player of the app: a sound, or two to be compared, of which the active one is heard.
 *
 * `levels` are the volumes at which the two are equally loud; null while they are not known.
 */
type PlayerState = {
  a: Playable | null;
  b: Playable | null;
  active: Side;
  playing: boolean;
  region: Region | null;
  loop: boolean;
  levels: Record<Side, number> | null;
  failed: boolean;
};

const EMPTY: PlayerState = {
  a: null,
  b: null,
  active: "a",
  playing: false,
  region: null,
  loop: false,
  levels: null,
  failed: false,
};

export const usePlayer = create<PlayerState>()(() => EMPTY);

export const other = (side: Side): Side => (side === "a" ? "b" : "a");
export const activeSound = (state: PlayerState): Playable | null => state[state.active];

let elements: Record<Side, HTMLAudioElement> | undefined;

export function mediaOf(side: Side): HTMLAudioElement {
  elements ??= { a: element("a"), b: element("b") };
  return elements[side];
}

export function element(side: Side): HTMLAudioElement {
  const audio = new Audio();
  audio.preload = "auto";
  const isActive = (): boolean => elements?.[side] === audio && usePlayer.getState().active === side;
  const note = (): void => {
    if (!isActive()) return;
    usePlayer.setState({ playing: !audio.paused && !audio.ended && !audio.error });
    if (audio.error) usePlayer.setState({ failed: true });
  };
  for (const event of ["play", "pause", "ended", "error"]) audio.addEventListener(event, note);
  audio.addEventListener("play", () => stayInLoop(side));
  audio.addEventListener("timeupdate", () => stayInLoop(side));
  audio.addEventListener("ended", () => restart(side));
  return audio;
}

/** Takes another file of the sound on a side, which `audio` has. Returns the audio before. */
export function exchange(side: Side, sound: Playable, audio: HTMLAudioElement): HTMLAudioElement {
  const old = mediaOf(side);
  elements = { a: mediaOf("a"), b: mediaOf("b"), [side]: audio };
  usePlayer.setState({ [side]: sound, failed: false });
  return old;
}

/** Plays, and notes where that is not possible. */
export async function start(audio: HTMLAudioElement): Promise<void> {
  await audio.play().catch((error: unknown) => {
    const name = error instanceof DOMException ? error.name : "";
    // A browser may want a click first, or something else was chosen meanwhile.
    if (name !== "NotAllowedError" && name !== "AbortError") usePlayer.setState({ failed: true });
  });
}

/** Plays a sound alone; the one that is heard already is paused, or goes on. */
export function play(sound: Playable): void {
  const state = usePlayer.getState();
  if (activeSound(state)?.id === sound.id) return toggle();
  if (state[other(state.active)]?.id === sound.id) return switchSides();
  open({ a: sound, b: null }, "a", 0, true);
}

/** Puts a sound into the player without playing it, unless it is there already or another one plays. */
export function show(sound: Playable): void {
  const state = usePlayer.getState();
  if (!state.playing && state.a?.id !== sound.id && state.b?.id !== sound.id) open({ a: sound, b: null }, "a", 0, false);
}

/** Plays `b`, with `a` to switch to in place, from a position in `b`. */
export function compare(a: Playable, b: Playable, from = 0): void {
  open({ a, b }, "b", from, true);
}

function open(sounds: Record<Side, Playable | null>, active: Side, from: number, plays: boolean): void {
  for (const side of ["a", "b"] as const) mediaOf(side).pause();
  usePlayer.setState({ ...EMPTY, ...sounds, active, loop: usePlayer.getState().loop });
  void load(active, from, plays).then(async () => {
    if (sounds.a === null || sounds.b === null) return;
    await load(other(active), 0, false);
    await matchLevels(sounds.a, sounds.b);
  });
}

async function load(side: Side, from: number, plays: boolean): Promise<void> {
  const sound = usePlayer.getState()[side];
  if (!sound) return;
  const url = await soundUrl(sound);
  if (usePlayer.getState()[side] !== sound) return;
  const audio = mediaOf(side);
  audio.volume = 1;
  audio.src = url;
  audio.currentTime = from;
  if (plays) await start(audio);
}

const loudness = new Map<string, Promise<number | null>>();

/** Turns the louder of the two sounds down. */
async function matchLevels(a: Playable, b: Playable): Promise<void> {
  const measure = async (sound: Playable): Promise<number | null> => {
    const answer = await fetch(await soundUrl(sound));
    return loudnessOf(await answer.arrayBuffer());
  };
  const known = (sound: Playable): Promise<number | null> => {
    const found = loudness.get(sound.id) ?? measure(sound).catch(() => null);
    loudness.set(sound.id, found);
    return found;
  };
  const [ofA, ofB] = await Promise.all([known(a), known(b)]);
  const state = usePlayer.getState();
  if (ofA === null || ofB === null || state.a !== a || state.b !== b) return;
  const lower = Math.min(ofA, ofB);
  const levels = { a: 10 ** ((lower - ofA) / 20), b: 10 ** ((lower - ofB) / 20) };
  for (const side of ["a", "b"] as const) mediaOf(side).volume = levels[side];
  usePlayer.setState({ levels });
}

/** Goes on with the other sound, at the same position of the music. */
export function switchSides(): void {
  const { active, region, ...state } = usePlayer.getState();
  const [from, to] = [state[active], state[other(active)]];
  if (!from || !to) return;
  const moved = (seconds: number): number => Math.min(Math.max(seconds - from.zero + to.zero, 0), to.seconds);
  const [old, next] = [mediaOf(active), mediaOf(other(active))];
  next.currentTime = moved(old.currentTime);
  const plays = !old.paused;
  usePlayer.setState({
    active: other(active),
    region:
      region && moved(region.start) < moved(region.end) ? { start: moved(region.start), end: moved(region.end) } : null,
  });
  if (plays) void next.play().then(() => old.pause());
}

export function toggle(): void {
  const audio = mediaOf(usePlayer.getState().active);
  if (usePlayer.getState().playing) return audio.pause();
  if (audio.error) {
    audio.load();
    usePlayer.setState({ failed: false });
  }
  void start(audio);
}

export function seek(seconds: number): void {
  const sound = activeSound(usePlayer.getState());
  if (sound) mediaOf(usePlayer.getState().active).currentTime = Math.min(Math.max(seconds, 0), sound.seconds);
}

/** The position in the active sound, in seconds. */
export function positionOf(): number {
  return mediaOf(usePlayer.getState().active).currentTime;
}

export function skip(seconds: number): void {
  seek(positionOf() + seconds);
}

export function select(region: Region | null): void {
  usePlayer.setState({ region });
}

export function toggleLoop(): void {
  usePlayer.setState(({ loop }) => ({ loop: !loop }));
  stayInLoop(usePlayer.getState().active);
}

export function close(): void {
  for (const side of ["a", "b"] as const) mediaOf(side).pause();
  usePlayer.setState(EMPTY);
}

let frame = 0;

/** `timeupdate` comes four times a second, which is too late for the end of a region. */
function stayInLoop(side: Side): void {
  const { active, loop, region } = usePlayer.getState();
  const audio = mediaOf(side);
  if (active !== side || !loop || !region) return;
  if (audio.currentTime >= region.end || audio.currentTime < region.start - 0.05) audio.currentTime = region.start;
  cancelAnimationFrame(frame);
  if (!audio.paused) frame = requestAnimationFrame(() => stayInLoop(side));
}

function restart(side: Side): void {
  const { active, loop, region } = usePlayer.getState();
  if (active !== side || !loop) return;
  mediaOf(side).currentTime = region?.start ?? 0;
  void mediaOf(side).play();
}
