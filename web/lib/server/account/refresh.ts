/** What a session holds. `expiresAt` is that of the access token, in seconds since 1970. */
export type Tokens = { access: string; refresh?: string; expiresAt: number; name: string };

// Requests that were sent with the cookie before the renewal get the renewed tokens for this time, in seconds, or for half of
// what the tokens have left.
const MAX_REMEMBERED_SECONDS = 60;
const STORE = Symbol.for("producer-twin.refreshes");

type Refreshes = Map<string, Promise<Tokens | null>>;

/**
 * The tokens that a refresh token was exchanged for. A page sends several requests at once, and a provider that rotates
 * refresh tokens ends the session of a token that comes twice.
 */
export function refreshedOnce(token: string, refresh: () => Promise<Tokens | null>): Promise<Tokens | null> {
  // Next may load this module once for each route.
  const all = globalThis as { [STORE]?: Refreshes };
  const refreshes = (all[STORE] ??= new Map());
  const known = refreshes.get(token);
  if (known) return known;
  const started = refresh();
  refreshes.set(token, started);
  started.then(
    (tokens) => {
      const left = tokens ? tokens.expiresAt - Date.now() / 1000 : Infinity;
      setTimeout(() => refreshes.delete(token), Math.min(MAX_REMEMBERED_SECONDS, left / 2) * 1000).unref();
    },
    () => refreshes.delete(token),
  );
  return started;
}
