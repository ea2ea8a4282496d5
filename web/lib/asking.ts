import { ApiError } from "producer-twin";

const PATIENCE_MILLISECONDS = 15_000;
const RETRY_MILLISECONDS = 4000;
const TRY_LATER = [408, 425, 429];

type Question<T> = {
  ask: (signal: AbortSignal) => Promise<T>;
  /** Takes the answer. Returns the milliseconds after which to ask again nonetheless, if any. */
  take: (answer: T) => number | void;
  /** Takes what went wrong, and null once there is an answer. */
  trouble?: (error: unknown) => void;
};

/** Asks the service, again and again while it does not answer, also not in time. Returns what ends that. */
export function asking<T>({ ask, take, trouble = () => undefined }: Question<T>): () => void {
  const leaving = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const again = (milliseconds: number): void => {
    timer = setTimeout(() => void once(), milliseconds);
  };
  async function once(): Promise<void> {
    try {
      const answer = await ask(patient(leaving.signal));
      if (leaving.signal.aborted) return;
      trouble(null);
      const pause = take(answer);
      if (pause) again(pause);
    } catch (error) {
      if (leaving.signal.aborted) return;
      trouble(error);
      if (!isRefusal(error)) again(RETRY_MILLISECONDS);
    }
  }
  void once();
  return () => {
    leaving.abort();
    clearTimeout(timer);
  };
}

/** Aborted with the signal, and with a TimeoutError where an answer takes too long. */
export function patient(signal?: AbortSignal): AbortSignal {
  const timeout = AbortSignal.timeout(PATIENCE_MILLISECONDS);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

export const isTimeout = (error: unknown): boolean => error instanceof DOMException && error.name === "TimeoutError";

/** Whether the same question gets the same answer. */
const isRefusal = (error: unknown): boolean =>
  error instanceof ApiError && error.status >= 400 && error.status < 500 && !TRY_LATER.includes(error.status);
