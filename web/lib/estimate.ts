import type { Backend } from "./client";
import { duration } from "./duration";

// As the service does: one song in eight is held out of three or more, and not trained on.
const SONGS_PER_HELD_OUT = 8;
const MIN_SONGS = 3;

/** What a training will take, in words; null where the service does not know. */
export function trainingEstimate(training: Backend["training"], lengths: number[], steps: string): string | null {
  if (!training || lengths.length === 0) return null;
  const heldOut = lengths.length < MIN_SONGS ? 0 : Math.max(1, Math.round(lengths.length / SONGS_PER_HELD_OUT));
  const music = lengths.reduce((sum, length) => sum + length, 0) * (1 - heldOut / lengths.length);
  const byMusic = Math.round(Math.min(training.max_steps, Math.max(training.min_steps, music * training.steps_per_second)));
  const count = steps === "" ? byMusic : Number(steps);
  const said = steps === "" ? `About ${count} steps` : `${count} steps`;
  if (training.seconds_per_step === null) return `${said}. How long they take here is known after the first training.`;
  const seconds = count * training.seconds_per_step + (training.seconds_besides ?? 0);
  return `${said}, about ${duration(seconds)} by earlier trainings here.`;
}
