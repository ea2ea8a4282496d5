import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { cookies } from "next/headers";
import { cookieOptions } from "./account/cookies";
import { signInKind } from "./account/settings";

const COOKIE = "producer-twin-own";
const MAX_AGE_SECONDS = 7 * 24 * 60 * 60;
const SUBMITS = ["/generate/submit", "/generate/form/submit"];
// Without a key of the service the cookies end with this process, and the password is asked for.
const secret = process.env.MUSIC_SERVICE_API_KEY || randomBytes(32).toString("hex");

/** Whether a request is one after which its browser's own track is remembered. */
export const isSubmission = (method: string, path: string): boolean =>
  method === "POST" && SUBMITS.includes(path) && isGuarded();

/**
 * With the app's password set, who submits a track needs none; nor to cancel or delete it: the browser gets a cookie for
 * this track, which it sends with requests about this track alone, and which only this app can make.
 */
export async function rememberOwn(answer: string, prefix: string): Promise<void> {
  const { track_id: id } = JSON.parse(answer) as { track_id: string };
  const options = { ...(await cookieOptions()), path: `${prefix}/tracks/${id}`, maxAge: MAX_AGE_SECONDS };
  (await cookies()).set(COOKIE, proofOf(id), options);
}

/** Whether a request deletes, or cancels, a track that its browser has submitted. */
export async function deletesOwn(method: string, path: string): Promise<boolean> {
  const id = /^\/tracks\/([^/]+)$/.exec(path)?.[1];
  const kept = (await cookies()).get(COOKIE)?.value;
  if (method !== "DELETE" || !id || !kept || !isGuarded()) return false;
  const [given, right] = [Buffer.from(kept), Buffer.from(proofOf(id.replace(/%3a/gi, ":")))];
  return given.length === right.length && timingSafeEqual(given, right);
}

const isGuarded = (): boolean => Boolean(process.env.NAWFSIDE_APP_PASSWORD) && signInKind() === null;

function proofOf(id: string): string {
  return createHmac("sha256", secret).update(`producer-twin track ${id}`).digest("base64url");
}
