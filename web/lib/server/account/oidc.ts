import * as client from "openid-client";
import { Problem } from "../problem";
import { cookieName, deleteCookie, getCookie, setCookie } from "./cookies";
import { localPath, publicOrigin } from "./origin";
import { refreshedOnce, type Tokens } from "./refresh";
import { seal, unseal } from "./seal";
import { oidcSettings, type OidcSettings } from "./settings";
import type { User } from "./user";

const CALLBACK = "/api/account/callback";
// Within which a user signs in at the provider, in seconds.
const SIGN_IN_SECONDS = 600;
const SESSION_SECONDS = 30 * 86400;
// Of a token whose lifetime the provider does not state, in seconds.
const LIFETIME_SECONDS = 300;
// A token is renewed so many seconds before it expires.
const MARGIN_SECONDS = 30;
const TIMEOUT_SECONDS = 10;

type Pending = { state: string; nonce: string; verifier: string; next: string };

const configurations = new Map<string, Promise<client.Configuration>>();

/** Where the provider asks the visitor to sign in. Authorization code with PKCE, state and nonce. */
export async function beginSignIn(next: string): Promise<string> {
  const settings = oidcSettings();
  const configuration = await configured(settings);
  const pending: Pending = {
    state: client.randomState(),
    nonce: client.randomNonce(),
    verifier: client.randomPKCECodeVerifier(),
    next,
  };
  const sealed = await seal(pending, "sign-in", settings.sessionSecret, SIGN_IN_SECONDS);
  await setCookie(await cookieName("sign-in"), sealed, SIGN_IN_SECONDS);
  return client.buildAuthorizationUrl(configuration, {
    ...settings.parameters,
    redirect_uri: (await publicOrigin()) + CALLBACK,
    scope: settings.scope,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: await client.calculatePKCECodeChallenge(pending.verifier),
    code_challenge_method: "S256",
  }).href;
}

/** Exchanges the code that the provider sent the browser back with. Returns the page to go on with. Throws Problem. */
export async function finishSignIn(search: string): Promise<string> {
  const settings = oidcSettings();
  const name = await cookieName("sign-in");
  const sealed = await getCookie(name);
  const pending = sealed && (await unseal<Pending>(sealed, "sign-in", settings.sessionSecret));
  if (!pending) throw new Problem(400, "sign-in: it was not begun in this browser, or took too long");
  await deleteCookie(name);
  const configuration = await configured(settings);
  const answer = await client
    .authorizationCodeGrant(
      configuration,
      new URL((await publicOrigin()) + CALLBACK + search),
      { pkceCodeVerifier: pending.verifier, expectedState: pending.state, expectedNonce: pending.nonce, idTokenExpected: true },
      settings.parameters,
    )
    .catch((error: unknown) => {
      if (!isRefusal(error)) throw away(error);
      console.error("a sign-in was refused:", error);
      throw new Problem(400, "sign-in: the provider did not confirm it");
    });
  await store(tokensOf(answer, nameOf(answer.claims() ?? {})), settings);
  return localPath(pending.next);
}

/** The user of the session cookie, with a token that is valid. Throws Problem (503). */
export async function oidcUser(): Promise<User | null> {
  const settings = oidcSettings();
  const tokens = await stored(settings);
  if (!tokens) return null;
  const secondsLeft = tokens.expiresAt - Date.now() / 1000;
  const { refresh: token } = tokens;
  if (secondsLeft > (token ? MARGIN_SECONDS : 0)) return userOf(tokens);
  let renewed: Tokens | null = null;
  try {
    renewed = token ? await refreshedOnce(token, () => refresh(tokens, token, settings)) : null;
  } catch (error) {
    if (secondsLeft > 0) return userOf(tokens); // the provider is away
    throw error;
  }
  if (!renewed) {
    await deleteCookie(await cookieName("session"));
    return null;
  }
  await store(renewed, settings);
  return userOf(renewed);
}

/** Ends the session here and at the provider. Returns where the browser goes. */
export async function oidcSignOut(): Promise<string> {
  const settings = oidcSettings();
  const tokens = await stored(settings);
  await deleteCookie(await cookieName("session"));
  try {
    const configuration = await configured(settings);
    const metadata = configuration.serverMetadata();
    // A stolen copy of the cookie is worth no more than its access token.
    if (tokens?.refresh && metadata.revocation_endpoint) await client.tokenRevocation(configuration, tokens.refresh);
    if (!metadata.end_session_endpoint) return "/";
    const home = `${await publicOrigin()}/`;
    return client.buildEndSessionUrl(configuration, { post_logout_redirect_uri: home }).href;
  } catch (error) {
    console.error("the sign-in provider was not told of a sign-out:", error);
    return "/";
  }
}

/** The renewed tokens; null if the provider refuses to renew them. Throws Problem (503). */
async function refresh(tokens: Tokens, token: string, settings: OidcSettings): Promise<Tokens | null> {
  const configuration = await configured(settings);
  try {
    const answer = await client.refreshTokenGrant(configuration, token, settings.parameters);
    return { ...tokens, ...tokensOf(answer, tokens.name) };
  } catch (error) {
    if (error instanceof client.ResponseBodyError && error.error === "invalid_grant") return null;
    throw away(error);
  }
}

function tokensOf(answer: client.TokenEndpointResponse & client.TokenEndpointResponseHelpers, name: string): Tokens {
  return {
    access: answer.access_token,
    ...(answer.refresh_token ? { refresh: answer.refresh_token } : {}),
    expiresAt: Math.floor(Date.now() / 1000) + (answer.expiresIn() ?? LIFETIME_SECONDS),
    name,
  };
}

async function store(tokens: Tokens, settings: OidcSettings): Promise<void> {
  const seconds = tokens.refresh ? SESSION_SECONDS : Math.max(1, tokens.expiresAt - Math.floor(Date.now() / 1000));
  await setCookie(await cookieName("session"), await seal(tokens, "session", settings.sessionSecret, seconds), seconds);
}

async function stored(settings: OidcSettings): Promise<Tokens | null> {
  const sealed = await getCookie(await cookieName("session"));
  return sealed ? unseal<Tokens>(sealed, "session", settings.sessionSecret) : null;
}

const userOf = ({ access, name }: Tokens): User => ({ token: access, name });

function nameOf(claims: Record<string, unknown>): string {
  const names = [claims.name, claims.preferred_username, claims.email, claims.sub];
  return names.find((name): name is string => typeof name === "string" && name.trim() !== "") ?? "you";
}

const isRefusal = (error: unknown): boolean =>
  [client.AuthorizationResponseError, client.ResponseBodyError, client.ClientError].some((kind) => error instanceof kind);

function away(error: unknown): Problem {
  console.error("the sign-in provider does not answer:", error);
  return new Problem(503, "the sign-in provider does not answer; try again later", { "retry-after": "5" }, "providerAway");
}

/** The provider by its discovery document, which is fetched once. */
function configured(settings: OidcSettings): Promise<client.Configuration> {
  const { issuer, clientId, clientSecret } = settings;
  const name = JSON.stringify([issuer, clientId, clientSecret]);
  const known = configurations.get(name);
  if (known) return known;
  const url = new URL(issuer);
  const isLoopback = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (url.protocol !== "https:" && !isLoopback) throw new Problem(503, "AUTH_ISSUER: it must start with https://");
  const found = client
    .discovery(url, clientId, undefined, clientSecret ? client.ClientSecretPost(clientSecret) : client.None(), {
      timeout: TIMEOUT_SECONDS,
      execute: url.protocol === "https:" ? [] : [client.allowInsecureRequests],
    })
    .catch((error: unknown) => {
      configurations.delete(name);
      throw away(error);
    });
  configurations.set(name, found);
  return found;
}
