import { NextResponse, type NextRequest } from "next/server";

/**
 * The Content-Security-Policy of each page, with a nonce of its own. Next reads the policy from the request's headers, and
 * puts the nonce on what it writes into the page.
 */
export function proxy(request: NextRequest): NextResponse {
  const policy = policyOf(Buffer.from(crypto.randomUUID()).toString("base64"));
  const headers = new Headers(request.headers);
  headers.set("content-security-policy", policy);
  const response = NextResponse.next({ request: { headers } });
  response.headers.set("content-security-policy", policy);
  return response;
}

// Bodies of requests that come through here are held in memory, which uploads must not be.
export const config = { matcher: "/((?!api/|_next/static/|icon.svg$).*)" };

function policyOf(nonce: string): string {
  const dev = process.env.NODE_ENV === "development";
  return [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${dev ? " 'unsafe-eval'" : ""}`,
    `style-src 'self' ${dev ? "'unsafe-inline'" : `'nonce-${nonce}'`}`,
    "img-src 'self' data: blob:",
    "media-src 'self' data: blob:",
    "connect-src 'self' blob: data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}
