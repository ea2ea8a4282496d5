import type { Backend } from "./client";
import { duration } from "./duration";
import { trainingSteps } from "./trainingSteps";

/** What a training will take, in words; null where the service does not know. */
export function trainingEstimate(training: Backend["training"], lengths: number[], steps: string): string | null {
  if (!training || lengths.length === 0) return null;
  const count = steps === "" ? trainingSteps(training, lengths) : Number(steps);
  const said = steps === "" ? `About ${count} steps` : `${count} steps`;
  if (training.seconds_per_step === null) return `${said}. How long they take here is known after the first training.`;
  const seconds = count * training.seconds_per_step + (training.seconds_besides ?? 0);
  return `${said}, about ${duration(seconds)} by earlier trainings here.`;
}
