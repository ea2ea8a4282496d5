/** The nonce of the page's Content-Security-Policy, which libraries need that write `<style>` elements. */
export function pageNonce(): string {
  return document.querySelector<HTMLElement>("script[nonce]")?.nonce ?? "";
}
