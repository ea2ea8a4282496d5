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

/** Refuses what another site's page makes a visitor's browser send. */
export function checkSite(request: Request): void {
  if (request.headers.get("sec-fetch-site") === "cross-site") {
    throw new Problem(403, "this request comes from another site's page; send it from this one");
  }
}
