import { Problem } from "./problem";

/**
 * Where the service is. The three variables are full addresses, as deployments of the original set them; what is not
 * set follows from MUSIC_SERVICE_URL. Read at each request, so that one build serves everywhere.
 */
const ROUTES = {
  MODAL_STORE_UPLOAD_WEB_URL: "/store-upload",
  MODAL_TRAIN_WEB_URL: "/train",
  MODAL_GENERATE_WEB_URL: "/generate",
} as const;

type Variable = keyof typeof ROUTES;

export const storeUploadAddress = () => address("MODAL_STORE_UPLOAD_WEB_URL");
export const trainAddress = () => address("MODAL_TRAIN_WEB_URL");
export const generateAddress = () => address("MODAL_GENERATE_WEB_URL");

function address(variable: Variable): string {
  const own = set(variable);
  if (own) return own;
  const base = set("MUSIC_SERVICE_URL");
  if (base) return base + ROUTES[variable];
  throw new Problem(503, `${variable}: set it, or MUSIC_SERVICE_URL, in the environment of this app`);
}

/** The service's root, or null where the three addresses are those of another service, which has no more than these. */
export function serviceRoot(): string | null {
  const base = set("MUSIC_SERVICE_URL");
  if (base) return base;
  for (const variable of Object.keys(ROUTES) as Variable[]) {
    const own = set(variable);
    if (own && new URL(own).pathname.endsWith(ROUTES[variable])) return own.slice(0, -ROUTES[variable].length);
  }
  return null;
}

/** The variable without its last slashes; undefined if it is not set, or empty. */
function set(variable: string): string | undefined {
  const value = process.env[variable]?.trim().replace(/\/+$/, "");
  if (value && !/^https?:$/.test(URL.canParse(value) ? new URL(value).protocol : "")) {
    throw new Problem(503, `${variable}: it must be an address that starts with http:// or https://`);
  }
  return value || undefined;
}
