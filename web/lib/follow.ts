import { ApiError } from "producer-twin";

const POLL_MILLISECONDS = 2000;
const TIMEOUT_MILLISECONDS = 10_000;
// Browsers keep six connections to a server, for all tabs together.
const MAX_STREAMS = 2;
const GONE = [403, 404, 410];

/** What goes on at the service. */
type Course<T> = {
  /** Its versions as they come, until the last one. */
  events: (signal: AbortSignal) => AsyncIterable<T>;
  /** How it is now. */
  get: (signal: AbortSignal) => Promise<T>;
  isLast: (version: T) => boolean;
  take: (version: T) => void;
  /** The service cannot be asked now. */
  trouble: (error: unknown) => void;
};

let streams = 0;

/**
 * Follows what goes on until its last version: by the service's events, or by asking again where they do not come through,
 * nobody looks at the page, or it follows others already. Throws ApiError where there is nothing to follow.
 */
export async function follow<T>(course: Course<T>, signal: AbortSignal): Promise<void> {
  let isOver = false;
  let eventsCome = true;
  const take = (version: T): void => {
    isOver = course.isLast(version);
    course.take(version);
  };
  while (!isOver && !signal.aborted) {
    if (eventsCome && streams < MAX_STREAMS && !document.hidden) {
      eventsCome = await streamed(course.events, take, signal);
      if (isOver || signal.aborted) return;
    }
    try {
      take(await course.get(AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MILLISECONDS)])));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && GONE.includes(error.status)) throw error;
      course.trouble(error);
    }
    if (!isOver) await pause(POLL_MILLISECONDS);
  }
}

export const pause = (milliseconds: number): Promise<void> => new Promise((on) => setTimeout(on, milliseconds));

/** Follows the events while the page is looked at, and until they break off. Returns whether any came. */
async function streamed<T>(events: Course<T>["events"], take: (version: T) => void, signal: AbortSignal): Promise<boolean> {
  const hiding = new AbortController();
  const hide = (): void => {
    if (document.hidden) hiding.abort();
  };
  let came = false;
  streams++;
  document.addEventListener("visibilitychange", hide);
  try {
    for await (const version of events(AbortSignal.any([signal, hiding.signal]))) {
      came = true;
      take(version);
    }
  } catch {
    // Asking says whether the service is away, or there is nothing to follow.
  } finally {
    streams--;
    document.removeEventListener("visibilitychange", hide);
  }
  return came || hiding.signal.aborted;
}
