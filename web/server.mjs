// @ts-check
/**
 * The HTTP server around Next: `node server.mjs`, with `--dev` for development.
 *
 * It refuses what another site's page makes a visitor's browser send, under that site's Host (DNS rebinding) or from its
 * Origin, tells the routes from which address a request comes (lib/server/visitor.ts), and adds security headers.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { createServer } from "node:http";
import { isIP } from "node:net";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];
const READS = ["GET", "HEAD", "OPTIONS"];
/** What no page of the app needs. */
const UNUSED_FEATURES = ["browsing-topics", "camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb"];
const LAST_MILLISECONDS = 2000; // for requests under way when the server is to end

const dev = process.argv.includes("--dev");
Object.assign(process.env, { NODE_ENV: dev ? "development" : "production" }); // React reads it when it is imported
const { default: next } = await import("next");
process.exitCode = 1; // until it listens: Next reports an error of what follows, and would end the process with 0

const hostname = process.env.WEB_ADDRESS || "127.0.0.1";
const port = number("WEB_PORT", 3001);
// Next loads the .env files, of which the settings below may be.
/** @type {import("node:http").Server} */
const server = createServer();
const app = next({ dev, hostname, port, httpServer: server });
await app.prepare();
const proxies = number("WEB_TRUSTED_PROXIES", 0);
const uploadSeconds = number("UPLOAD_SECONDS", 3600);
if (!uploadSeconds) throw new Error("UPLOAD_SECONDS: it must be over 0");
const hosts = (process.env.WEB_HOSTS ?? "").toLowerCase().split(",").map((host) => host.trim()).filter(Boolean);
const hasSignIn = Boolean(process.env.NEXT_PUBLIC_SUPABASE_URL?.trim() || process.env.AUTH_ISSUER?.trim());
const publicOrigin = originOf("WEB_URL");
originOf("NEXT_PUBLIC_SUPABASE_URL"); // passwords and tokens go there
if (hasSignIn && hosts.length && !publicOrigin) throw new Error("WEB_URL: set it with WEB_HOSTS, so that sign-in knows where it is");
if (publicOrigin) hosts.push(new URL(publicOrigin).hostname);
const handle = app.getRequestHandler();
/** Headers of every answer; proxy.ts adds the pages' Content-Security-Policy. */
const headers = new Map([
  ["Cross-Origin-Opener-Policy", "same-origin"],
  ["Permissions-Policy", UNUSED_FEATURES.map((feature) => `${feature}=()`).join(", ")],
  ["Referrer-Policy", "same-origin"],
  ["X-Content-Type-Options", "nosniff"],
  ...(publicOrigin?.startsWith("https:") ? [/** @type {const} */ (["Strict-Transport-Security", "max-age=31536000"])] : []),
]);

/** @type {AsyncLocalStorage<string>} */
const visitor = new AsyncLocalStorage();
Object.assign(globalThis, { [Symbol.for("producer-twin.visitor")]: visitor });

// Node's own limit for a whole request is five minutes.
server.requestTimeout = uploadSeconds * 1000;
server.headersTimeout = Math.min(server.headersTimeout, server.requestTimeout);
server.on("request", (request, response) => {
  response.setHeaders(headers);
  const refused = refusal(request);
  if (refused) {
    response.writeHead(refused.status, { "content-type": "application/json", connection: "close" });
    response.end(JSON.stringify({ error: refused.error }));
    return;
  }
  visitor.run(address(request), () => handle(request, response)).catch((error) => {
    console.error(error);
    response.destroy();
  });
});
server.on("upgrade", (request, socket) => {
  if (refusal(request)) socket.destroy();
});
// A parent that has bound the port passes its socket, so that no other program takes the port meanwhile.
const socket = process.env.WEB_SOCKET ? { fd: number("WEB_SOCKET", 0) } : { port, host: hostname };
server.on("error", (error) => {
  console.error(`error: WEB_PORT: ${hostname}:${port} cannot be served (${error.message}); set another port`);
  process.exit(1);
});
server.listen(socket, () => {
  process.exitCode = 0;
  console.log(`http://${hostname}:${port}`);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    server.close(() => void app.close().then(() => process.exit()));
    // Event streams end only with their clients.
    setTimeout(() => server.closeAllConnections(), LAST_MILLISECONDS).unref();
  });
}

/**
 * Why this request is not for this app, if it is not.
 * @param {import("node:http").IncomingMessage} request
 */
function refusal({ method = "GET", headers }) {
  const host = headers.host?.toLowerCase() ?? "";
  if (![...LOOPBACK, ...hosts].includes(name(host))) {
    return { status: 421, error: "host: this app is not served under this name; its operator lists names in WEB_HOSTS" };
  }
  if (READS.includes(method)) return null;
  const origin = headers.origin?.toLowerCase();
  if (isForeign(origin, host, headers) || headers["sec-fetch-site"] === "cross-site") {
    return { status: 403, error: "origin: this request comes from another site's page; send it from this one" };
  }
  return null;
}

/**
 * Whether a request that writes comes from a page of another origin. Where a cookie says who asks, only the app's own origin
 * is right, with its scheme and port, and a browser always names it.
 * @param {string | undefined} origin @param {string} host @param {import("node:http").IncomingHttpHeaders} headers
 */
function isForeign(origin, host, headers) {
  if (!hasSignIn) {
    const authority = origin?.split("://")[1] ?? "";
    return origin !== undefined && authority !== host && !hosts.includes(name(authority));
  }
  if (origin !== undefined) return origin !== (publicOrigin ?? `http://${host}`);
  return headers.cookie !== undefined && headers["sec-fetch-site"] !== "same-origin";
}

/**
 * The visitor's address: that of the connection, or what the outermost trusted proxy says of its own.
 * @param {import("node:http").IncomingMessage} request
 */
function address({ headers, socket }) {
  const own = socket.remoteAddress ?? "unknown";
  const chain = [...String(headers["x-forwarded-for"] ?? "").split(","), own];
  const told = proxies ? (chain.at(-1 - proxies) ?? "").trim() : own;
  return (isIP(told) ? told : own).replace(/^::ffff:/, "");
}

/** @param {string} authority `host` or `host:port` */
function name(authority) {
  return authority.replace(/:\d+$/, "");
}

/** The origin in a variable: https, or http on this machine. @param {string} variable */
function originOf(variable) {
  const value = process.env[variable]?.trim();
  if (!value) return null;
  const { protocol, hostname, origin } = URL.canParse(value) ? new URL(value) : { protocol: "", hostname: "", origin: "" };
  if (protocol === "https:" || (protocol === "http:" && LOOPBACK.includes(hostname))) return origin;
  throw new Error(`${variable}: it must be an address that starts with https://`);
}

/** @param {string} variable @param {number} otherwise */
function number(variable, otherwise) {
  const value = Number(process.env[variable] || otherwise);
  if (!(value >= 0)) throw new Error(`${variable}: it must be a number`);
  return value;
}
