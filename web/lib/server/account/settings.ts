import { Problem } from "../problem";

/** How users sign in: by Supabase, by another OpenID Connect provider, or not at all (null). */
export type SignInKind = "supabase" | "oidc";

/** Read at each request. A setting that is missing beside these is a Problem, and never opens the app by its API key. */
export function signInKind(): SignInKind | null {
  if (setting("NEXT_PUBLIC_SUPABASE_URL")) return "supabase";
  return setting("AUTH_ISSUER") ? "oidc" : null;
}

export type SupabaseSettings = { url: string; key: string };

/** Throws Problem (503). */
export function supabaseSettings(): SupabaseSettings {
  return { url: required("NEXT_PUBLIC_SUPABASE_URL"), key: required("NEXT_PUBLIC_SUPABASE_ANON_KEY") };
}

/** `parameters` are added to requests for tokens: `audience=…` for Auth0, `resource=…` where RFC 8707 is supported. */
export type OidcSettings = {
  issuer: string;
  clientId: string;
  clientSecret: string | undefined;
  scope: string;
  parameters: Record<string, string>;
  sessionSecret: string;
};

const SCOPE = "openid profile email offline_access";
const MIN_SECRET_CHARACTERS = 32;

/** Throws Problem (503). */
export function oidcSettings(): OidcSettings {
  const sessionSecret = required("SESSION_SECRET");
  if (sessionSecret.length < MIN_SECRET_CHARACTERS) {
    throw new Problem(503, `SESSION_SECRET: it must have ${MIN_SECRET_CHARACTERS} characters or more`);
  }
  return {
    issuer: required("AUTH_ISSUER"),
    clientId: required("AUTH_CLIENT_ID"),
    clientSecret: setting("AUTH_CLIENT_SECRET"),
    scope: setting("AUTH_SCOPE") ?? SCOPE,
    parameters: Object.fromEntries(new URLSearchParams(setting("AUTH_PARAMETERS"))),
    sessionSecret,
  };
}

function required(name: string): string {
  const value = setting(name);
  if (!value) throw new Problem(503, `${name}: set it in the environment of this app, so that users can sign in`);
  return value;
}

/** By a name that is not in the source, since Next would write NEXT_PUBLIC_… into the build. */
function setting(name: string): string | undefined {
  return process.env[name]?.trim() || undefined;
}
