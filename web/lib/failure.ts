export const REASONS = [
  "appAway",
  "connectionBroke",
  "noLink",
  "providerAway",
  "serviceAway",
  "signInExpired",
  "signInFirst",
  "tooManyAttempts",
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
