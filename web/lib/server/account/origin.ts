import { headers } from "next/headers";

const MAX_CHARACTERS = 1000;

/** The origin under which browsers see this app. server.mjs has checked Host, and that WEB_URL is set where it matters. */
export async function publicOrigin(): Promise<string> {
  const own = process.env.WEB_URL;
  return own ? new URL(own).origin : `http://${(await headers()).get("host")}`;
}

/** The page that a visitor wants after signing in: a path of this app. Anything else becomes "/". */
export function localPath(wanted: string | null | undefined): string {
  if (!wanted?.startsWith("/") || wanted.length > MAX_CHARACTERS) return "/";
  const base = "http://app.invalid";
  if (!URL.canParse(wanted, base)) return "/";
  const { origin, pathname, search, hash } = new URL(wanted, base);
  // "/.//other.example" is of this origin, and its path is the address of another one.
  if (origin !== base || pathname.startsWith("//") || pathname.startsWith("/api/")) return "/";
  return pathname + search + hash;
}
