import { REASON_HEADER, type Reason } from "../failure";

/**
 * A request that is refused: the status, and the sentence that the client reads. With a `reason` the pages have words of
 * their own for it, in the user's language.
 */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly headers: Record<string, string> = {},
    readonly reason?: Reason,
  ) {
    super(message);
  }
}

/** The answer of `handle`, or `{"error"}`: what went wrong here is logged, and never shown. */
export async function answering(handle: () => Promise<Response>): Promise<Response> {
  try {
    return await handle();
  } catch (error) {
    if (error instanceof Problem) {
      const headers = { ...error.headers, ...(error.reason ? { [REASON_HEADER]: error.reason } : {}) };
      return Response.json({ error: error.message }, { status: error.status, headers });
    }
    console.error(error);
    return Response.json({ error: "the app failed at this request; its log says why" }, { status: 500 });
  }
}
