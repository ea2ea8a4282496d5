import { createHash, timingSafeEqual } from "node:crypto";
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
 * check follows, if it has one. Where users sign in there is no password.
 */
export function checkPassword(given: string | null): Record<string, string> {
  if (signInKind() !== null) return {};
  const wanted = process.env.NAWFSIDE_APP_PASSWORD;
  if (wanted && !timingSafeEqual(digest(given ?? ""), digest(wanted))) {
    const sentence = `${PASSWORD_HEADER}: the password is missing or wrong; send it in this header or form field`;
    throw new Problem(401, sentence, {}, "wrongPassword");
  }
  const password = wanted || given;
  return password ? { [PASSWORD_HEADER]: Buffer.from(password, "utf8").toString("latin1") } : {};
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
