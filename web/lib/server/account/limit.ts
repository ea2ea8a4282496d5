import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { Problem } from "../problem";
import { visitor } from "../visitor";

const DEFAULT_PER_MINUTE = 10;

let limiter: RateLimiterMemory | undefined;

/** Counts a visitor's attempt to sign in, sign up, or have an e-mail sent. Throws Problem (429) if there are too many. */
export async function countAttempt(): Promise<void> {
  limiter ??= new RateLimiterMemory({
    points: Number(process.env.SIGN_IN_ATTEMPTS_PER_MINUTE) || DEFAULT_PER_MINUTE,
    duration: 60,
  });
  try {
    await limiter.consume(network(visitor()));
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    const seconds = Math.ceil(refused.msBeforeNext / 1000);
    throw new Problem(429, `sign-in: too many attempts; try again in ${seconds} s`, { "retry-after": String(seconds) }, "tooManyAttempts");
  }
}

/** An IPv4 address, or the /64 network of an IPv6 one, all of whose addresses one visitor may have. */
function network(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const first = head.split(":").filter(Boolean);
  const last = tail?.split(":").filter(Boolean) ?? [];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  return [...first, ...Array<string>(zeros).fill("0"), ...last].slice(0, 4).join(":");
}
