import { after } from "next/server";
import { trainAddress } from "./addresses";
import { Problem } from "./problem";
import { post } from "./upstream";

const DEFAULT_NAME = "nawfside_lora";
// How long a train address that answers at the end of training is given to refuse.
const GRACE_MILLISECONDS = 10_000;

/** A job; `jobId` is the same as `job_id`, which pages of the original read. */
export type Job = { job_id: string; jobId: string; producer_id: string; model_name: string };

type Request = {
  producerId: string;
  modelName?: string | undefined;
  jobId: string;
} & ({ uploadPaths: string[] } | { uploadUrls: string[] });

/** Starts a training and answers its job, without waiting for its end. Throws Problem with the service's refusal. */
export async function startTraining(request: Request, headers: Record<string, string>): Promise<Job> {
  const body = {
    producer_id: request.producerId,
    job_id: request.jobId,
    ...(request.modelName ? { model_name: request.modelName } : {}),
    ...("uploadPaths" in request ? { upload_paths: request.uploadPaths } : { upload_urls: request.uploadUrls }),
  };
  const url = trainAddress();
  const job = (answer: Record<string, unknown>): Job => {
    const id = text(answer.job_id) ?? request.jobId;
    return {
      job_id: id,
      jobId: id,
      producer_id: request.producerId,
      model_name: text(answer.model_name) ?? request.modelName ?? DEFAULT_NAME,
    };
  };
  // A service of our kind takes a job and answers at once.
  if (new URL(url).pathname.endsWith("/train")) return job(await post(`${url}/submit`, body, headers));

  // Any other trains while the request lasts, which therefore outlives ours.
  const training = post(url, body, headers);
  const answer = await Promise.race([training, new Promise<null>((done) => setTimeout(done, GRACE_MILLISECONDS, null))]);
  if (answer === null) {
    after(() => training.catch((error: unknown) => console.error(`job ${request.jobId} failed:`, told(error))));
  }
  return job(answer ?? {});
}

function told(error: unknown): unknown {
  return error instanceof Problem ? error.message : error;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
