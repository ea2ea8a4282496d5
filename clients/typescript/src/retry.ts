/** How often and how long the client tries again. */
export interface Retry {
  /** How often a request is sent at most; 4 if left out. */
  attempts?: number;
  /** The first pause in seconds where the service names none; each further one is twice as long. */
  baseSeconds?: number;
  /** The longest pause. If the service asks for a longer one, its error is thrown at once. */
  maxSeconds?: number;
}

/** The service did nothing (429, 503), or a proxy got no answer of it (502). */
const RETRIED_STATUSES = new Set([429, 502, 503]);
/** With a `Retry-After`: the first request with the same `Idempotency-Key` is not answered yet. */
const CONFLICT = 409;

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

  /** The seconds until the next attempt after an error of the service; null if there is none. */
  afterAnswer(attempt: number, status: number, wanted: number | null, repeatable: boolean): number | null {
    const retried = RETRIED_STATUSES.has(status) || (status === CONFLICT && wanted !== null);
    if (attempt >= this.#attempts || !retried || (status === 502 && !repeatable)) return null;
    if (wanted === null) return this.#backoff(attempt);
    return wanted <= this.#max ? wanted : null;
  }

  #backoff(attempt: number): number {
    return Math.min(this.#base * 2 ** (attempt - 1), this.#max) * (0.5 + Math.random() / 2);
  }
}
