import { cookies } from "next/headers";
import { Problem } from "../problem";
import { publicOrigin } from "./origin";

// A browser keeps 4,096 bytes of a cookie with its name and attributes; Node reads 16 KiB of headers in all.
const CHUNK_CHARACTERS = 3800;
const MAX_CHUNKS = 3;

export type CookieOptions = { httpOnly: true; secure: boolean; sameSite: "lax"; path: "/" };

/**
 * Attributes of every cookie of this app: no script reads it, and no other site's request carries it, but for a link that
 * a visitor follows, such as the provider's way back.
 */
export async function cookieOptions(): Promise<CookieOptions> {
  return { httpOnly: true, secure: await isSecure(), sameSite: "lax", path: "/" };
}

/** With TLS by the prefix `__Host-`, so that a neighbouring subdomain cannot plant the cookie. */
export async function cookieName(name: "session" | "sign-in" | "password"): Promise<string> {
  return `${(await isSecure()) ? "__Host-" : ""}producer-twin-${name}`;
}

/** Sets a cookie in as many parts as it needs. Throws Problem (502) if it needs more than browsers send. */
export async function setCookie(name: string, value: string, maxAge: number): Promise<void> {
  const parts = value.match(new RegExp(`.{1,${CHUNK_CHARACTERS}}`, "g")) ?? [];
  if (parts.length > MAX_CHUNKS) throw new Problem(502, "the sign-in provider's tokens are too large for cookies");
  const jar = await cookies();
  const options = { ...(await cookieOptions()), maxAge };
  parts.forEach((part, number) => jar.set(chunk(name, number), part, options));
  for (let number = parts.length; number < MAX_CHUNKS; number++) {
    if (jar.has(chunk(name, number))) jar.set(chunk(name, number), "", { ...options, maxAge: 0 });
  }
}

export async function getCookie(name: string): Promise<string | null> {
  const jar = await cookies();
  let value = "";
  for (let number = 0; number < MAX_CHUNKS; number++) value += jar.get(chunk(name, number))?.value ?? "";
  return value || null;
}

export const deleteCookie = (name: string): Promise<void> => setCookie(name, "", 0);

const chunk = (name: string, number: number): string => (number === 0 ? name : `${name}.${number}`);

const isSecure = async (): Promise<boolean> => (await publicOrigin()).startsWith("https:");
