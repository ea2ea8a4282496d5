import type { Backend } from "producer-twin";

// As in training/evaluation/held_out.py: these songs are measured, and not trained on.
const MIN_SONGS = 3;
const SONGS_PER_HELD_OUT = 8;
const MAX_HELD_OUT_SHARE = 0.34;

/**
 * The service's default number of steps for songs of these lengths in seconds.
 *
 * The service holds songs out in the order of their digests, which the page does not know: it takes that of `lengths`.
 */
export function trainingSteps(training: NonNullable<Backend["training"]>, lengths: number[]): number {
  const heldOut = chooseHeldOut(lengths);
  const seconds = sum(lengths.filter((_, song) => !heldOut.has(song)));
  return Math.floor(Math.min(training.max_steps, Math.max(training.min_steps, seconds * training.steps_per_second)));
}

function chooseHeldOut(lengths: number[]): Set<number> {
  const chosen = new Set<number>();
  if (lengths.length < MIN_SONGS) return chosen;
  const longest = sum(lengths) * MAX_HELD_OUT_SHARE;
  const count = Math.max(1, roundHalfToEven(lengths.length / SONGS_PER_HELD_OUT));
  let heldOut = 0;
  lengths.forEach((seconds, song) => {
    if (chosen.size < count && heldOut + seconds <= longest) {
      chosen.add(song);
      heldOut += seconds;
    }
  });
  return chosen.size > 0 ? chosen : new Set([lengths.indexOf(Math.min(...lengths))]);
}

/** As Python rounds; Math.round makes 3 of 2.5. */
function roundHalfToEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}

const sum = (lengths: number[]): number => lengths.reduce((total, length) => total + length, 0);
