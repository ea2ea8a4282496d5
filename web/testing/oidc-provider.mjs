// @ts-check
/**
 * An OpenID Connect provider for the tests: `node oidc-provider.mjs <port> <redirect URI> <home>`.
 *
 * oidc-provider is a certified implementation. Its development pages sign in whoever types a name, and its access tokens
 * are JWTs for the resource `urn:twins`. `POST /test/rotate` makes it sign with a new key; the one before it stays
 * published. `POST /test/lifetime?seconds=` sets how long access tokens last. `GET /test/asked` counts requests by path.
 */
import { createServer } from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

const [port, redirectUri, home] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
let seconds = 3600;
/** @type {import("jose").JWK[]} */
let keys = [];
/** @type {(request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse) => void} */
let handle;
/** @type {Record<string, number>} */
const asked = {};

async function rotate() {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  keys = [{ ...(await exportJWK(privateKey)), alg: "RS256", use: "sig", kid: `key-${Date.now()}` }, ...keys.slice(0, 1)];
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "web",
        client_secret: "a secret of the tests",
        token_endpoint_auth_method: "client_secret_post",
        grant_types: ["authorization_code", "refresh_token"],
        redirect_uris: [redirectUri ?? ""],
        post_logout_redirect_uris: [home ?? ""],
      },
    ],
    claims: { openid: ["sub"], profile: ["name"] },
    conformIdTokenClaims: false,
    cookies: { keys: ["of the tests"] },
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: "",
          audience: "urn:twins",
          accessTokenFormat: "jwt",
          accessTokenTTL: seconds,
          jwt: { sign: { alg: "RS256" } },
        }),
      },
      revocation: { enabled: true },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `${id} of the tests` }) }),
    jwks: { keys: /** @type {any} */ (keys) },
    pkce: { required: () => true },
    rotateRefreshToken: true,
  });
  handle = provider.callback();
}

await rotate();
createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", issuer);
  asked[pathname] = (asked[pathname] ?? 0) + 1;
  /** @type {Record<string, () => unknown>} */
  const tests = {
    "/test/rotate": rotate,
    "/test/lifetime": () => (seconds = Number(searchParams.get("seconds"))),
    "/test/asked": () => asked,
  };
  const test = tests[pathname];
  if (!test) return handle(request, response);
  return void Promise.resolve(test()).then((answer) => response.end(JSON.stringify(answer ?? null)));
}).listen(Number(port), "localhost");
