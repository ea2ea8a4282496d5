import { EventParser } from "./events.js";
import { lost, sleep, type Transport } from "./transport.js";

const RECONNECT_SECONDS = 2;
const MAX_LOST_STREAMS = 5;

/**
 * The documents that a stream of server-sent events has, until the last one. A lost connection is made again.
 *
 * Throws ApiError, such as 404 where what is followed was deleted; Unreachable where the connection was lost several times
 * with nothing received in between.
 */
export async function* followed<T>(
  transport: Transport,
  path: string,
  isLast: (document: T) => boolean,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  let lastId: string | null = null;
  for (let losses = 0; ; ) {
    const headers: Record<string, string> = lastId === null ? {} : { "last-event-id": lastId };
    const answer = await transport.send("GET", path, { headers, signal });
    if (answer.status === 204 || !answer.body) return;
    const parser = new EventParser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (;;) {
        let part: ReadableStreamReadResult<string>;
        try {
          part = await reader.read();
        } catch (error) {
          if (signal?.aborted) throw error;
          if (++losses > MAX_LOST_STREAMS) throw lost(path, error);
          break;
        }
        if (part.done) break;
        losses = 0;
        for (const event of parser.feed(part.value)) {
          // A new stream begins with the record, which may be known.
          if (event.id !== null && event.id === lastId) continue;
          lastId = event.id;
          const document = JSON.parse(event.data) as T;
          yield document;
          if (isLast(document)) return;
        }
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
    await sleep(RECONNECT_SECONDS, signal);
  }
}
