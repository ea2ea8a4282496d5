import { createServerClient } from "@supabase/ssr";
import { isAuthError, isAuthRetryableFetchError, type SupabaseClient } from "@supabase/supabase-js";
import { decodeJwt } from "jose";
import { cookies } from "next/headers";
import { WebSocket } from "undici";
import { Problem } from "../problem";
import { cookieName, cookieOptions } from "./cookies";
import { localPath, publicOrigin } from "./origin";
import { supabaseSettings } from "./settings";
import type { User } from "./user";

const NEW_PASSWORD_PAGE = "/sign-in/new-password";
const TIMEOUT_MILLISECONDS = 10_000;

export async function supabaseSignIn(email: string, password: string): Promise<void> {
  const { error } = await (await supabase()).auth.signInWithPassword({ email, password });
  if (error) throw problem(error);
}

/** Returns whether the user is signed in; otherwise Supabase has sent an e-mail with a link. */
export async function supabaseSignUp(email: string, password: string, next: string): Promise<boolean> {
  const options = { emailRedirectTo: await callback(next) };
  const { data, error } = await (await supabase()).auth.signUp({ email, password, options });
  if (error) throw problem(error);
  return data.session !== null;
}

/** Has Supabase send an e-mail with a link to the page for a new password, if it knows the address. */
export async function supabaseReset(email: string): Promise<void> {
  const { error } = await (await supabase()).auth.resetPasswordForEmail(email, { redirectTo: await callback(NEW_PASSWORD_PAGE) });
  if (error) throw problem(error);
}

export async function supabaseNewPassword(password: string): Promise<void> {
  const { error } = await (await supabase()).auth.updateUser({ password });
  if (error) throw problem(error);
}

/** Exchanges the code of an e-mail's link, which works in the browser that asked for it (PKCE). Throws Problem. */
export async function supabaseCallback(parameters: URLSearchParams): Promise<string> {
  const code = parameters.get("code");
  if (!code) throw new Problem(400, "sign-in: the link is not valid, or no longer");
  const { error } = await (await supabase()).auth.exchangeCodeForSession(code);
  if (error) throw problem(error);
  return localPath(parameters.get("next"));
}

/** The user of the session cookies, with a token that is valid. Throws Problem (503). */
export async function supabaseUser(): Promise<User | null> {
  const { data, error } = await (await supabase()).auth.getSession();
  if (isAuthRetryableFetchError(error)) throw problem(error);
  if (!data.session) return null;
  return { token: data.session.access_token, name: nameIn(data.session.access_token) };
}

/** For the page alone: the service verifies the token. */
function nameIn(token: string): string {
  try {
    const { email, sub } = decodeJwt<{ email?: string }>(token);
    return email || sub || "you";
  } catch {
    return "you";
  }
}

/** Ends this session, here and at Supabase. */
export async function supabaseSignOut(): Promise<string> {
  const client = await supabase();
  const { error } = await client.auth.signOut({ scope: "local" });
  if (error) {
    console.error("Supabase was not told of a sign-out:", error.message);
    await forget(); // the client keeps the session then
  }
  return "/";
}

async function callback(next: string): Promise<string> {
  return `${await publicOrigin()}/api/account/callback?next=${encodeURIComponent(next)}`;
}

async function forget(): Promise<void> {
  const jar = await cookies();
  const session = await cookieName("session");
  const options = { ...(await cookieOptions()), maxAge: 0 };
  for (const { name } of jar.getAll()) if (name.startsWith(session)) jar.set(name, "", options);
}

/** A client for one request, whose session is in the request's cookies. */
async function supabase(): Promise<SupabaseClient> {
  const { url, key } = supabaseSettings();
  const jar = await cookies();
  const options = await cookieOptions();
  return createServerClient(url, key, {
    cookies: {
      getAll: () => jar.getAll(),
      setAll: (changes) => changes.forEach(({ name, value, options: own }) => jar.set(name, value, { ...own, ...options })),
    },
    cookieOptions: { ...options, name: await cookieName("session") },
    global: { fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS) }) },
    // Not used, but Node 20 has none, and the client insists.
    realtime: { transport: WebSocket as never },
  });
}

/** The provider's refusal in its own words. */
function problem(error: unknown): Problem {
  if (isAuthError(error) && error.status !== undefined && error.status >= 400 && error.status < 500) {
    return new Problem(error.status, `sign-in: ${error.message}`);
  }
  if (isAuthError(error) && !isAuthRetryableFetchError(error)) return new Problem(400, `sign-in: ${error.message}`);
  console.error("Supabase does not answer:", error);
  return new Problem(503, "the sign-in provider does not answer; try again later", { "retry-after": "5" }, "providerAway");
}
