/** Links of twins that their owners share: `/#twin=ada:night&link=<secret>`. A fragment is not sent to servers or logged. */

const HEADER = "x-twin-link";
const STORE = "producer-twin.links";
const MAX_LINKS = 8; // as many as the service takes
const SECRET = /^[A-Za-z0-9_-]{1,64}$/;

export function twinLink(twin: string, secret: string): string {
  return `${window.location.origin}/#${new URLSearchParams({ twin, link: secret })}`;
}

export function forgetLinks(): void {
  window.sessionStorage.removeItem(STORE);
}

/** The header with the secrets of the links that were opened in this tab; the page's own comes first. */
export function linkHeader(): Record<string, string> {
  if (typeof window === "undefined") return {};
  const opened = new URLSearchParams(window.location.hash.slice(1)).get("link") ?? "";
  const known = (window.sessionStorage.getItem(STORE) ?? "").split(",");
  const secrets = [...new Set([opened, ...known])].filter((secret) => SECRET.test(secret)).slice(0, MAX_LINKS);
  if (secrets.length === 0) return {};
  window.sessionStorage.setItem(STORE, secrets.join(","));
  return { [HEADER]: secrets.join(",") };
}
