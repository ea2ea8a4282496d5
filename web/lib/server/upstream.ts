import { Agent } from "undici";
import { signInKind } from "./account/settings";
import { currentUser } from "./account/user";
import { Problem } from "./problem";
import { fetchFollowing, type Answer, type Init } from "./redirects";
import { visitor } from "./visitor";

// Training and long tracks answer late; whoever does not want to wait goes away, and the signal tells.
const patient = new Agent({ headersTimeout: 0, bodyTimeout: 0, connectTimeout: 10_000 });

/**
 * A request to the service, with the visitor's address, and with the token of the signed-in user, if any. This app's own
 * key, which is for every producer, is used only where nobody can sign in. Throws Problem: 401 if the service wants a user,
 * 503 if it does not answer.
 */
export async function send(url: string, init: Init): Promise<Answer> {
  const headers = new Headers(init.headers as HeadersInit);
  headers.set("x-visitor-address", visitor());
  const hasSignIn = signInKind() !== null;
  const user = await currentUser();
  const token = hasSignIn ? user?.token : process.env.MUSIC_SERVICE_API_KEY;
  if (token) headers.set("authorization", `Bearer ${token}`);
  let answer: Answer;
  try {
    answer = await fetchFollowing(url, { ...init, headers: [...headers], dispatcher: patient });
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (init.signal?.aborted) throw new Problem(499, "the client went away");
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    console.error(`${new URL(url).origin} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
    throw new Problem(503, "the music service does not answer; try again later", { "retry-after": "5" }, "serviceAway");
  }
  // A visitor has no key of the service; a wrong password is refused without this header.
  if (answer.status === 401 && answer.headers.has("www-authenticate")) {
    if (user) throw new Problem(401, "the music service no longer takes your sign-in; sign out, and in again", {}, "signInExpired");
    if (hasSignIn) throw new Problem(401, "sign in first: this is for signed-in users", {}, "signInFirst");
    throw new Problem(503, "the music service wants an API key of this app: set MUSIC_SERVICE_API_KEY in its environment");
  }
  return answer;
}

type Json = Record<string, unknown>;

/** Posts JSON and returns what was answered. Throws Problem with the service's status and sentence. */
export async function post(url: string, body: Json, headers: Record<string, string>, signal?: AbortSignal): Promise<Json> {
  const answer = await send(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json", ...headers },
    body: JSON.stringify(body),
    signal,
  });
  const text = await answer.text();
  const document = parsed(text);
  const said = typeof document?.error === "string" ? document.error : null;
  if (!answer.ok || said !== null) {
    const retry = answer.headers.get("retry-after");
    // The original answered its errors with 200.
    const status = answer.ok ? 502 : answer.status;
    throw new Problem(status, said ?? `the music service answered ${answer.status}`, retry ? { "retry-after": retry } : {});
  }
  if (document === null) throw new Problem(502, "the music service answered something else than JSON");
  return document;
}

function parsed(text: string): Json | null {
  try {
    const document: unknown = JSON.parse(text);
    return typeof document === "object" && document !== null && !Array.isArray(document) ? (document as Json) : null;
  } catch {
    return null;
  }
}
