/** An id that nobody guesses, also in a page that did not come by TLS, where `crypto.randomUUID` is not there. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
