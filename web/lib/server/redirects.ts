import { fetch } from "undici";
import { Problem } from "./problem";

export type Answer = Awaited<ReturnType<typeof fetch>>;
export type Init = NonNullable<Parameters<typeof fetch>[1]>;

const MAX_REDIRECTS = 20;
const REDIRECTS = [301, 302, 303, 307, 308];
// What another origin, such as the storage's, needs to answer with the right bytes.
const FOREIGN_HEADERS = ["accept", "range", "if-range", "if-none-match"];

/**
 * Fetches, and follows redirects: to another origin without the headers that are for the service alone (its key, the
 * password, links of twins, the visitor's address). Throws Problem (502) where a redirect cannot be followed.
 */
export async function fetchFollowing(url: string, init: Init): Promise<Answer> {
  let next: Init & { headers: Headers } = { ...init, redirect: "manual", headers: new Headers(init.headers as HeadersInit) };
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const answer = await fetch(url, { ...next, headers: [...next.headers] });
    const location = answer.headers.get("location");
    if (!REDIRECTS.includes(answer.status) || location === null) return answer;
    await answer.body?.cancel();
    const target = new URL(location, url);
    const { method = "GET", body, ...rest } = next;
    const isRead = method === "GET" || method === "HEAD";
    if (answer.status === 303) next = { ...rest, method: isRead ? method : "GET" };
    else if (!isRead && typeof body !== "string") break; // a stream cannot be sent twice
    if (target.origin !== new URL(url).origin) {
      if (target.protocol !== "https:" && target.protocol !== "http:") break;
      next = { ...next, headers: new Headers([...next.headers].filter(([name]) => FOREIGN_HEADERS.includes(name))) };
    }
    url = target.href;
  }
  throw new Problem(502, "the music service redirects to where this app cannot follow");
}
