import { subscribe } from "node:diagnostics_channel";
import type { Server } from "node:http";

const AN_HOUR = 3600;

/**
 * Gives each request UPLOAD_SECONDS to arrive in. Next makes its server itself, and has no option for it; Node names the
 * server with each request, and reads the limit anew each time that it looks for requests that are late.
 */
export function allowSlowUploads(): void {
  const seconds = Number(process.env.UPLOAD_SECONDS || AN_HOUR);
  if (!(seconds > 0)) throw new Error("UPLOAD_SECONDS: it must be a number of seconds over 0");
  subscribe("http.server.request.start", (message) => {
    const { server } = message as { server: Server };
    server.requestTimeout = seconds * 1000;
    // Of the two Node takes the longer one for the whole.
    server.headersTimeout = Math.min(server.headersTimeout, server.requestTimeout);
  });
}
