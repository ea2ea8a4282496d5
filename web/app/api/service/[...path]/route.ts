import type { BodyInit } from "undici";
import { signInKind } from "@/lib/server/account/settings";
import { serviceRoot } from "@/lib/server/addresses";
import { deletesOwn, isSubmission, rememberOwn } from "@/lib/server/ownTracks";
import { appPassword, checkPasswordOf } from "@/lib/server/password";
import { answering, Problem } from "@/lib/server/problem";
import routes from "@/lib/server/routes.json";
import { send } from "@/lib/server/upstream";

// The routes that the pages use, and no more: without sign-in this app lends its key to whoever may open the pages, so that
// the routes by which users own producers are not passed on then. The file is generated
// from the service's route table (make web/lib/server/routes.json).
const PART = "[A-Za-z0-9._:%-]+";
const ROUTES = routes.map(({ path, ...route }) => ({ ...route, pattern: pattern(path) }));
const SENT = [
  "accept",
  "content-type",
  "idempotency-key",
  "if-none-match",
  "if-range",
  "last-event-id",
  "range",
  "x-request-id",
  "x-twin-link",
];
const ANSWERED = [
  "accept-ranges",
  "cache-control",
  "content-disposition",
  "content-range",
  "content-type",
  "etag",
  "last-modified",
  "retry-after",
];
const PREFIX = "/api/service";

/** The service's own routes, for the pages: the browser needs neither the service's address, nor its key, nor the user's token. */
function pass(request: Request): Promise<Response> {
  return answering(async () => {
    const { pathname, search } = new URL(request.url);
    const path = pathname.slice(PREFIX.length);
    const route = ROUTES.find(({ method, pattern }) => method === request.method && pattern.test(path));
    const hasSignIn = signInKind() !== null;
    if (!route || (route.sign_in && !hasSignIn) || /%(2f|5c|00)/i.test(path)) {
      throw new Problem(404, `there is nothing at ${PREFIX}${path}`);
    }
    const password = await passwordFor(request, route.password, path);
    const root = serviceRoot();
    if (root === null) {
      throw new Problem(503, "MUSIC_SERVICE_URL: set it in the environment of this app; the addresses that are set have no such route");
    }
    const answer = await send(root + path + search, {
      method: request.method,
      headers: { ...chosen(request.headers, SENT), ...password },
      // The stream of undici's types and that of the browser's are the same one in Node.
      ...(request.body === null ? {} : { body: request.body as unknown as BodyInit, duplex: "half" as const }),
      signal: request.signal,
    });
    const headers = new Headers(chosen(answer.headers, ANSWERED));
    const submitted = answer.ok && isSubmission(request.method, path) ? await answer.text() : null;
    if (submitted !== null) await rememberOwn(submitted, PREFIX);
    // An answer may be for this user alone, and may set a cookie.
    if (hasSignIn || route.password) headers.set("cache-control", "private, no-cache");
    // Events are sent on as they come; compression would hold them back.
    if (headers.get("content-type")?.startsWith("text/event-stream")) headers.set("cache-control", "no-cache, no-transform");
    // The report is a page of the service's making; it needs nothing of this origin.
    headers.set("content-security-policy", "sandbox allow-scripts allow-popups");
    return new Response(submitted ?? (answer.body as ReadableStream | null), { status: answer.status, headers });
  });
}

async function passwordFor(request: Request, isWanted: boolean, path: string): Promise<Record<string, string>> {
  if (!isWanted) return {};
  return (await deletesOwn(request.method, path)) ? appPassword() : checkPasswordOf(request);
}

/** What a path of the template looks like; `{path}` stands for several parts. */
function pattern(template: string): RegExp {
  const escaped = template.replace(/[.]/g, "\\.");
  return new RegExp(`^${escaped.replace("{path}", `(${PART}/)*${PART}`).replace(/\{\w+\}/g, PART)}$`);
}

function chosen(headers: { get(name: string): string | null }, names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (headers.get(name) === null ? [] : [[name, headers.get(name) ?? ""]])));
}

export { pass as DELETE, pass as GET, pass as PATCH, pass as POST, pass as PUT };
