import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { cookies } from "next/headers";
import { cookieName, cookieOptions } from "./account/cookies";
import { guess } from "./account/limit";
import { signInKind } from "./account/settings";
import { Problem } from "./problem";

export const PASSWORD_HEADER = "x-train-password";

/** The password in the header, null if there is none. Headers are bytes that were read as Latin-1; clients send the password's UTF-8. */
export function passwordIn(headers: Headers): string | null {
  const given = headers.get(PASSWORD_HEADER);
  return !given ? null : Buffer.from(given, "latin1").toString("utf8");
}

/**
 * Compares in a time that tells nothing of the right password, and returns what goes on to the service: its own
 * check follows, if it has one. Where users sign in there is no password. Throws Problem (401, 429).
 */
export async function checkPassword(given: string | null): Promise<Record<string, string>> {
  if (signInKind() !== null) return {};
  const wanted = process.env.NAWFSIDE_APP_PASSWORD;
  if (wanted && !(given && (await guess(PASSWORD_HEADER, () => timingSafeEqual(digest(given), digest(wanted)))))) {
    const sentence = `${PASSWORD_HEADER}: the password is missing or wrong; send it in this header or form field`;
    throw new Problem(401, sentence, {}, "wrongPassword");
  }
  return headerOf(wanted || given);
}

/**
 * Checks the password of a request to one of the service's routes, and returns what goes on to the service. The right
 * password leaves a cookie until the browser is closed, which is enough for reads: players, links and event streams send
 * no headers of their own.
 */
export async function checkPasswordOf(request: Request): Promise<Record<string, string>> {
  const given = passwordIn(request.headers);
  const wanted = process.env.NAWFSIDE_APP_PASSWORD;
  if (!wanted || signInKind() !== null) return checkPassword(given);
  const [jar, name, proof] = [await cookies(), await cookieName("password"), proofOf(wanted)];
  const kept = jar.get(name)?.value ?? "";
  const isKept = timingSafeEqual(digest(kept), digest(proof));
  if (given === null && request.method === "GET" && isKept) return headerOf(wanted);
  const headers = await checkPassword(given);
  if (!isKept) jar.set(name, proof, await cookieOptions());
  return headers;
}

/** This app's password, for a request that its own rules allow. */
export const appPassword = (): Record<string, string> => headerOf(process.env.NAWFSIDE_APP_PASSWORD ?? null);

function headerOf(password: string | null): Record<string, string> {
  return password ? { [PASSWORD_HEADER]: Buffer.from(password, "utf8").toString("latin1") } : {};
}

/** Shows that its bearer knew the password, which it does not tell. */
function proofOf(password: string): string {
  return createHmac("sha256", password).update("producer-twin password").digest("base64url");
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
