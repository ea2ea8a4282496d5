import type { Job } from "./types.js";

/** Base class of the client's errors. */
export class ProducerTwinError extends Error {
  override name: string = "ProducerTwinError";
}

/** The service refused the request. */
export class ApiError extends ProducerTwinError {
  override name = "ApiError";

  /**
   * @param status the HTTP status.
   * @param sentence the service's sentence, which names the field and the remedy.
   * @param retryAfter the seconds after which the service may be asked again, if it said so.
   * @param requestId the id under which the service's log has the request.
   * @param ofService whether the service answered, and not a proxy in between.
   */
  constructor(
    readonly status: number,
    readonly sentence: string,
    readonly retryAfter: number | null = null,
    readonly requestId: string | null = null,
    readonly ofService = true,
  ) {
    super(`${status}: ${sentence}`);
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
  let sentence = body.trim().slice(0, 500) || statusText;
  let ofService = false;
  try {
    const document: unknown = JSON.parse(body);
    if (typeof document === "object" && document !== null && "error" in document) {
      sentence = String(document.error);
      ofService = true;
    }
  } catch {
    // A proxy in between answered.
  }
  return new ApiError(status, sentence, retryAfter(headers), headers.get("x-request-id"), ofService);
}

/** The seconds of `Retry-After`, which is a number or a date. */
export function retryAfter(headers: Headers): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, (date - Date.now()) / 1000);
}
