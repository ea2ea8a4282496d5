/** A request that is refused: the status, and the sentence that the client reads. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly headers: Record<string, string> = {},
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
      return Response.json({ error: error.message }, { status: error.status, headers: error.headers });
    }
    console.error(error);
    return Response.json({ error: "the app failed at this request; its log says why" }, { status: 500 });
  }
}
