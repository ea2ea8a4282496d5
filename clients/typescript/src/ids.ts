/** A new UUID; also on pages without TLS, where browsers have no `crypto.randomUUID`. */
export function newId(): string {
  if ("randomUUID" in crypto) return crypto.randomUUID();
  const bytes = (crypto as Crypto).getRandomValues(new Uint8Array(16));
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The header of a request that makes something: the service knows it when it is sent again, and makes nothing twice. */
export function idempotent(key?: string): Record<string, string> {
  return { "idempotency-key": key || newId() };
}
