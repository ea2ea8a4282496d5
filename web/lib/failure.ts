import { ApiError, Unreachable } from "producer-twin";
import { isTimeout } from "./asking";

export const REASONS = [
  "appAway",
  "providerAway",
  "serviceAway",
  "signInExpired",
  "signInFirst",
  "tooManyAttempts",
  "trackCancelled",
  "trackGone",
  "unexpectedStatus",
  "wrongPassword",
] as const;

/** Each has its words in the messages under `errors`. */
export type Reason = (typeof REASONS)[number];

export const isReason = (name: unknown): name is Reason => REASONS.includes(name as Reason);

/** Names the reason in an answer of this app's own. */
export const REASON_HEADER = "x-reason";

/** An error that this app words itself, in the user's language. */
export class Failure extends Error {
  constructor(
    readonly reason: Reason,
    readonly values: Record<string, string | number> = {},
  ) {
    super(reason);
  }
}

/** The error in this app's own words; null where it is a sentence of the service. */
export function failureOf(error: unknown): Failure | null {
  if (error instanceof Failure) return error;
  if (error instanceof Unreachable) return new Failure("appAway");
  if (isTimeout(error)) return new Failure("serviceAway");
  if (!(error instanceof ApiError)) return null;
  const reason = error.headers.get(REASON_HEADER);
  if (isReason(reason)) return new Failure(reason, { seconds: error.headers.get("retry-after") ?? "" });
  return error.byService ? null : new Failure("unexpectedStatus", { status: error.status });
}

/** What an error says, which is none of this app's own. */
export function sentenceOf(error: unknown): string {
  if (error instanceof ApiError) return error.sentence;
  return error instanceof Error ? error.message : String(error);
}
