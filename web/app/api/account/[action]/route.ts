import { getTranslations } from "next-intl/server";
import { countAttempt } from "@/lib/server/account/limit";
import { beginSignIn, finishSignIn, oidcSignOut } from "@/lib/server/account/oidc";
import { localPath, publicOrigin } from "@/lib/server/account/origin";
import { signInKind } from "@/lib/server/account/settings";
import {
  supabaseCallback,
  supabaseNewPassword,
  supabaseReset,
  supabaseSignIn,
  supabaseSignOut,
  supabaseSignUp,
} from "@/lib/server/account/supabase";
import { jsonBody, optional, required } from "@/lib/server/fields";
import { answering, Problem } from "@/lib/server/problem";

type Context = { params: Promise<{ action: string }> };
type Fields = Record<string, unknown>;

/** Ways for the browser itself: each answers with a redirect. */
const GETS: Record<string, (url: URL) => Promise<string>> = {
  "oidc sign-in": (url) => orPage(beginSignIn(localPath(url.searchParams.get("next")))),
  "oidc callback": (url) => orPage(finishSignIn(url.search)),
  "supabase callback": (url) => orPage(supabaseCallback(url.searchParams)),
};

/** What the pages send: each answers `{"next"}`, where the browser goes, or `{"said"}`, a sentence for the user. */
const POSTS: Record<string, (fields: Fields) => Promise<{ next: string } | { said: string }>> = {
  "oidc sign-out": async () => ({ next: await oidcSignOut() }),
  "supabase sign-out": async () => ({ next: await supabaseSignOut() }),
  "supabase sign-in": async (fields) => {
    await countAttempt();
    await supabaseSignIn(required(fields, "email"), required(fields, "password"));
    return { next: localPath(optional(fields, "next")) };
  },
  "supabase sign-up": async (fields) => {
    await countAttempt();
    const next = localPath(optional(fields, "next"));
    if (await supabaseSignUp(required(fields, "email"), required(fields, "password"), next)) return { next };
    return { said: (await getTranslations("signIn"))("mailSent") };
  },
  "supabase reset": async (fields) => {
    await countAttempt();
    await supabaseReset(required(fields, "email"));
    return { said: (await getTranslations("signIn"))("resetSent") };
  },
  "supabase new-password": async (fields) => {
    await supabaseNewPassword(required(fields, "password"));
    return { next: "/" };
  },
};

export function GET(request: Request, context: Context): Promise<Response> {
  return answering(async () => {
    const go = GETS[await named(context)];
    if (!go) throw notFound();
    const location = new URL(await go(new URL(request.url)), await publicOrigin()).href;
    return new Response(null, { status: 303, headers: { location, "cache-control": "no-store", "referrer-policy": "no-referrer" } });
  });
}

export function POST(request: Request, context: Context): Promise<Response> {
  return answering(async () => {
    const act = POSTS[await named(context)];
    if (!act) throw notFound();
    return Response.json(await act(await jsonBody(request)), { headers: { "cache-control": "no-store" } });
  });
}

const named = async ({ params }: Context): Promise<string> => `${signInKind()} ${(await params).action}`;

const notFound = (): Problem => new Problem(404, "there is no such route; see how this app signs users in");

/** The address to go on with, or the sign-in page, which says that it failed. */
async function orPage(finished: Promise<string>): Promise<string> {
  try {
    return await finished;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return `/sign-in?failed=${error.status === 503 ? "away" : "refused"}`;
  }
}
