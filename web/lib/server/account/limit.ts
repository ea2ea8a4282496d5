import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { Problem } from "../problem";
import { visitor } from "../visitor";

const DEFAULT_PER_MINUTE = 10;

const limiters = new Map<string, RateLimiterMemory>();

/** Counts a visitor's attempt to sign in, sign up, or have an e-mail sent. Throws Problem (429) if there are too many. */
export async function countAttempt(): Promise<void> {
  await consume("sign-in");
}

/** Whether a visitor's guess of a password is right. Throws Problem (429) after too many wrong ones, whatever this one is. */
export async function guess(field: string, isRight: () => boolean): Promise<boolean> {
  const limiter = await consume(field);
  if (!isRight()) return false;
  await limiter.reward(network(visitor()));
  return true;
}

async function consume(subject: string): Promise<RateLimiterMemory> {
  const points = Number(process.env.SIGN_IN_ATTEMPTS_PER_MINUTE) || DEFAULT_PER_MINUTE;
  const limiter = limiters.get(subject) ?? new RateLimiterMemory({ points, duration: 60 });
  limiters.set(subject, limiter);
  try {
    await limiter.consume(network(visitor()));
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    const seconds = Math.ceil(refused.msBeforeNext / 1000);
    const sentence = `${subject}: too many attempts; try again in ${seconds} s`;
    throw new Problem(429, sentence, { "retry-after": String(seconds) }, "tooManyAttempts");
  }
  return limiter;
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
