import { EventParser } from "./events.ts";
import { lost, sleep, type ReadOptions, type Transport } from "./transport.ts";

const RECONNECT_SECONDS = 2;
const MAX_RECONNECTS = 5;
/** The service sends a comment at least every 15 s. */
const MAX_SILENT_SECONDS = 40;

export interface FollowOptions extends ReadOptions {
  /** How often in a row a connection that brought nothing is made again; 5 if left out. */
  reconnects?: number;
}

/**
 * The documents that a stream of server-sent events has, until the last one. A connection that is lost, or silent for
 * 40 s, is made again.
 *
 * Throws ApiError, such as 404 where what is followed was deleted; Unreachable where the connection was lost several times
 * with nothing received in between.
 */
export async function* followed<T>(
  transport: Transport,
  path: string,
  isLast: (document: T) => boolean,
  { signal, reconnects = MAX_RECONNECTS }: FollowOptions = {},
): AsyncGenerator<T, void, undefined> {
  let lastId: string | null = null;
  for (let losses = 0; ; ) {
    const silence = new Silence(signal);
    let reader: ReadableStreamDefaultReader<string> | undefined;
    let came = false;
    try {
      const headers: Record<string, string> = lastId === null ? {} : { "last-event-id": lastId };
      const answer = await transport.send("GET", path, { headers, signal: silence.signal });
      if (answer.status === 204 || !answer.body) return;
      const parser = new EventParser();
      reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        silence.start();
        const part = await reader.read();
        if (part.done) break;
        came = true;
        losses = 0;
        for (const event of parser.feed(part.value)) {
          // A new stream begins with the record, which may be known.
          if (event.id !== null && event.id === lastId) continue;
          lastId = event.id;
          const document = JSON.parse(event.data) as T;
          silence.end();
          yield document;
          if (isLast(document)) return;
        }
      }
      if (!came) throw new TypeError("the stream was empty");
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (!(error instanceof TypeError || silence.signal.aborted)) throw error;
      if (++losses > reconnects) throw lost(path, error);
    } finally {
      silence.end();
      await reader?.cancel().catch(() => undefined);
    }
    await sleep(RECONNECT_SECONDS, signal);
  }
}

/** Aborts a connection that has been silent for long, and when the caller does. */
class Silence {
  readonly #controller = new AbortController();
  readonly signal: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(caller: AbortSignal | undefined) {
    this.signal = caller ? AbortSignal.any([caller, this.#controller.signal]) : this.#controller.signal;
    this.start();
  }

  /** The silence begins now. */
  start(): void {
    this.end();
    const reason = new Error(`nothing came for ${MAX_SILENT_SECONDS} s`);
    this.#timer = setTimeout(() => this.#controller.abort(reason), MAX_SILENT_SECONDS * 1000);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
