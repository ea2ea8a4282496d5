import type { ApiError } from "./errors.ts";

/** How often and how long the client tries again. */
export interface Retry {
  /**
   * How often a request is sent at most; 4 if left out. Asking again for the answer to an attempt that is still under way
   * does not count; with 1 that is not done either.
   */
  attempts?: number;
  /** The first pause in seconds where the service names none; each further one is twice as long. */
  baseSeconds?: number;
  /** The longest pause. If the service asks for a longer one, its error is thrown at once. */
  maxSeconds?: number;
}

/** The service did nothing. */
const REFUSED_STATUSES = new Set([429, 503]);

/** Decides whether a request is sent again, and when. */
export class RetryPolicy {
  readonly #attempts: number;
  readonly #base: number;
  readonly #max: number;

  constructor({ attempts = 4, baseSeconds = 0.5, maxSeconds = 60 }: Retry = {}) {
    this.#attempts = attempts;
    this.#base = baseSeconds;
    this.#max = maxSeconds;
  }

  /**
   * The seconds until the next attempt after a lost connection; null if there is none.
   *
   * @param attempt 1 for the first.
   * @param repeatable whether the request may reach the service twice.
   */
  afterLostConnection(attempt: number, repeatable: boolean): number | null {
    return attempt < this.#attempts && repeatable ? this.#backoff(attempt) : null;
  }

  /** The seconds until the next attempt after an error of the service, or of a proxy; null if there is none. */
  afterAnswer(attempt: number, error: ApiError, repeatable: boolean): number | null {
    const mayHelp = REFUSED_STATUSES.has(error.status) || (repeatable && isLost(error));
    if (isUnderWay(error) ? this.#attempts === 1 : attempt >= this.#attempts || !mayHelp) return null;
    if (error.retryAfter === null) return this.#backoff(attempt);
    return error.retryAfter <= this.#max ? error.retryAfter : null;
  }

  #backoff(attempt: number): number {
    return Math.min(this.#base * 2 ** (attempt - 1), this.#max) * (0.5 + Math.random() / 2);
  }
}

/** Whether an earlier attempt with the same idempotency key is not answered yet. */
export function isUnderWay({ status, retryAfter }: ApiError): boolean {
  return status === 409 && retryAfter !== null;
}

/** Whether a proxy got no answer of the service, which may have done its work. */
function isLost({ status, byService }: ApiError): boolean {
  return status === 502 || (status === 504 && !byService);
}
