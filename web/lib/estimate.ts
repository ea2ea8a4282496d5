import type { Backend } from "producer-twin";
import { trainingSteps } from "./trainingSteps";

/** `isGuess`: the service chooses the number of steps. `seconds` is null until a first training has shown it. */
export type Estimate = { steps: number; isGuess: boolean; seconds: number | null };

/** What a training of songs of these lengths will take; null where the service does not know. */
export function trainingEstimate(training: Backend["training"], lengths: number[], steps: string): Estimate | null {
  if (!training || lengths.length === 0) return null;
  const count = steps === "" ? trainingSteps(training, lengths) : Number(steps);
  const { seconds_per_step: each, seconds_besides: besides } = training;
  return { steps: count, isGuess: steps === "", seconds: each === null ? null : count * each + (besides ?? 0) };
}
