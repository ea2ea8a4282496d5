import { JobFailed } from "./errors.ts";
import { hasEnded } from "./ended.ts";
import { followed, type FollowOptions } from "./followed.ts";
import { isRedirect, pathOf, type ReadOptions, type Transport } from "./transport.ts";
import type { Job, JobDeleted, Report, TrainedTwin } from "./types.ts";

/** Training jobs: list, follow, cancel, resume, delete; their reports and previews. */
export class Jobs {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** The jobs, the newest first. */
  async list(filter: { producer_id?: string; state?: string } = {}, { signal }: ReadOptions = {}): Promise<Job[]> {
    return (await this.#transport.json<{ jobs: Job[] }>("GET", "/jobs", { query: filter, signal })).jobs;
  }

  /** A job, by its own id or its task's. */
  get(jobId: string, { signal }: ReadOptions = {}): Promise<Job> {
    return this.#transport.json("GET", pathOf("/jobs/{job_id}", { job_id: jobId }), { signal });
  }

  /** Delete a job that has ended, with its dataset and report; its twin stays. */
  delete(jobId: string): Promise<JobDeleted> {
    return this.#transport.json("DELETE", pathOf("/jobs/{job_id}", { job_id: jobId }), { repeatable: false });
  }

  /** Cancel a job; the twin so far is kept, marked partial. */
  cancel(jobId: string): Promise<Job> {
    return this.#transport.json("POST", pathOf("/jobs/{job_id}/cancel", { job_id: jobId }));
  }

  /** Resume a job that failed or was cancelled, from its last checkpoint. */
  resume(jobId: string): Promise<Job> {
    // A second resume finds a job under way, and is refused.
    return this.#transport.json("POST", pathOf("/jobs/{job_id}/resume", { job_id: jobId }), { repeatable: false });
  }

  /**
   * The job now and whenever it changes, until it has ended. A connection that is lost, or silent for long, is made again.
   *
   * Throws ApiError, such as 404 where the job was deleted; Unreachable where the connection was lost several times with
   * nothing received in between.
   */
  events(jobId: string, options: FollowOptions = {}): AsyncGenerator<Job, void, undefined> {
    return followed<Job>(this.#transport, pathOf("/jobs/{job_id}/events", { job_id: jobId }), hasEnded, options);
  }

  /** The job when it is done; `onChange` is called whenever it changes. Throws JobFailed. */
  async wait(jobId: string, onChange?: (job: Job) => void, options: FollowOptions = {}): Promise<Job> {
    let job: Job | null = null;
    for await (job of this.events(jobId, options)) onChange?.(job);
    job ??= await this.get(jobId);
    if (job.state !== "done") throw new JobFailed(job);
    return job;
  }

  /** The result of a job, as `training.train` answers it; waits until the job is done. */
  async result(jobId: string, { signal }: ReadOptions = {}): Promise<TrainedTwin> {
    const path = pathOf("/jobs/{job_id}/result", { job_id: jobId });
    for (;;) {
      // The service holds each answer for minutes, and then redirects to the same URL; `fetch` follows 20 redirects only.
      const answer = await this.#transport.send("GET", path, { returnRedirect: true, signal });
      if (!isRedirect(answer)) return (await answer.json()) as TrainedTwin;
      await answer.body?.cancel();
    }
  }

  /** The report on the twin that a job made. */
  report(jobId: string, { signal }: ReadOptions = {}): Promise<Report> {
    return this.#transport.json("GET", pathOf("/jobs/{job_id}/report.json", { job_id: jobId }), { signal });
  }

  /** The report as an HTML page, with its pictures and sounds inside. */
  async reportPage(jobId: string): Promise<string> {
    return (await this.#transport.send("GET", pathOf("/jobs/{job_id}/report", { job_id: jobId }))).text();
  }

  /** A preview, as audio or as its spectrogram, by the last part of its URL. */
  async preview(jobId: string, name: string): Promise<Blob> {
    const path = pathOf("/jobs/{job_id}/previews/{name}", { job_id: jobId, name });
    return (await this.#transport.send("GET", path)).blob();
  }
}
