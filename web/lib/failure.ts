import type messages from "@/messages/en.json";

export type Reason = keyof (typeof messages)["errors"];

/** An error that this app words itself, in the user's language. */
export class Failure extends Error {
  constructor(
    readonly reason: Reason,
    readonly values: Record<string, string | number> = {},
  ) {
    super(reason);
  }
}
