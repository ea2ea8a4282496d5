import { idempotent, newId } from "./ids.ts";
import { Jobs } from "./jobs.ts";
import { isRedirect, type Transport } from "./transport.ts";
import type { SubmittedTraining, Task, TrainOptions, TrainedTwin } from "./types.ts";

/** Starts trainings. A `job_id` is chosen unless one is given: a request that is sent again starts one job. */
export class Training {
  readonly #transport: Transport;
  readonly #jobs: Jobs;

  constructor(transport: Transport) {
    this.#transport = transport;
    this.#jobs = new Jobs(transport);
  }

  /**
   * Start a training; answers at once.
   *
   * @param uploadPaths the paths that uploads answered; null with `upload_urls` or `dataset_job_id`.
   */
  submit(producerId: string, uploadPaths: readonly string[] | null, options: TrainOptions = {}): Promise<SubmittedTraining> {
    return this.#transport.json("POST", "/train/submit", { json: body(producerId, uploadPaths, options), headers: idempotent() });
  }

  /** Train a twin; answers when it is ready. The arguments are those of `submit`. */
  async train(producerId: string, uploadPaths: readonly string[] | null, options: TrainOptions = {}): Promise<TrainedTwin> {
    const json = body(producerId, uploadPaths, options);
    const answer = await this.#transport.send("POST", "/train", { json, headers: idempotent(), returnRedirect: true });
    if (!isRedirect(answer)) return (await answer.json()) as TrainedTwin;
    await answer.body?.cancel();
    return this.#jobs.result(json.job_id);
  }

  /** The status of a task; `jobs.get` has more, and outlives the server. */
  status(taskId: string): Promise<Task> {
    return this.#transport.json("GET", "/train/status", { query: { task_id: taskId }, withPassword: true });
  }

  /** The result of a task, as `train` answers it. */
  result(taskId: string): Promise<TrainedTwin> {
    return this.#transport.json("GET", "/train/get", { query: { task_id: taskId }, withPassword: true });
  }
}

function body(producerId: string, uploadPaths: readonly string[] | null, options: TrainOptions) {
  return { producer_id: producerId, upload_paths: uploadPaths, ...options, job_id: options.job_id ?? newId() };
}
