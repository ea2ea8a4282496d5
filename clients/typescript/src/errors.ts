import type { Job } from "./types.ts";

/** Base class of the client's errors. */
export class ProducerTwinError extends Error {
  override name: string = "ProducerTwinError";
}

/** The service refused the request. */
export class ApiError extends ProducerTwinError {
  override name = "ApiError";

  /**
   * @param status the HTTP status.
   * @param sentence the service's sentence, which names the field and the remedy; the start of the body where a proxy answered.
   * @param headers those of the answer.
   * @param byService whether the sentence is the service's.
   */
  constructor(
    readonly status: number,
    readonly sentence: string,
    readonly headers: Headers = new Headers(),
    readonly byService = true,
  ) {
    super(`${status}: ${sentence}`);
  }

  /** The seconds after which the service may be asked again, if it said so. */
  get retryAfter(): number | null {
    return retryAfter(this.headers);
  }

  /** The id under which the service's log has the request. */
  get requestId(): string | null {
    return this.headers.get("x-request-id");
  }
}

/** The service could not be reached, or the connection to it was lost. */
export class Unreachable extends ProducerTwinError {
  override name = "Unreachable";
}

/** A training ended without a twin, or was cancelled. */
export class JobFailed extends ProducerTwinError {
  override name = "JobFailed";

  constructor(readonly job: Job) {
    super(`job ${job.job_id} ${job.state}${job.error ? `: ${job.error}` : ""}`);
  }
}

/** The error for an answer that is none of success. */
export function errorOf(status: number, statusText: string, body: string, headers: Headers): ApiError {
  try {
    const document: unknown = JSON.parse(body);
    if (typeof document === "object" && document !== null && "error" in document) {
      return new ApiError(status, String(document.error), headers);
    }
  } catch {
    // A proxy in between answered.
  }
  return new ApiError(status, body.trim().slice(0, 500) || statusText, headers, false);
}

/** The seconds of `Retry-After`, which is a number or a date. */
export function retryAfter(headers: Headers): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, (date - Date.now()) / 1000);
}
