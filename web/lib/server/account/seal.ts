import { hkdfSync } from "node:crypto";
import { EncryptJWT, jwtDecrypt, type JWTPayload } from "jose";

const ALGORITHMS = { alg: "dir", enc: "A256GCM" };

/** Encrypts and signs a value for a cookie. `purpose` keeps one kind of cookie from being taken for another. */
export function seal(value: JWTPayload, purpose: string, secret: string, seconds: number): Promise<string> {
  return new EncryptJWT(value)
    .setProtectedHeader(ALGORITHMS)
    .setAudience(purpose)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
    .encrypt(keyOf(secret));
}

/** The value; null if it was not sealed here for this purpose, or is over. */
export async function unseal<T>(sealed: string, purpose: string, secret: string): Promise<T | null> {
  try {
    const { payload } = await jwtDecrypt(sealed, keyOf(secret), {
      audience: purpose,
      keyManagementAlgorithms: [ALGORITHMS.alg],
      contentEncryptionAlgorithms: [ALGORITHMS.enc],
    });
    return payload as T;
  } catch {
    return null;
  }
}

function keyOf(secret: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, "", "producer-twin cookies", 32));
}
