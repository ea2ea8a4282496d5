"use client";

import { useEffect, useState } from "react";
import { refusal } from "./client";
import { forgetWork, keepWorkOf } from "./keeping";

/** Who is signed in, and the error (null for none) where that could not be read. A page is loaded anew when that changes. */
export type Account = { user: { name: string } | null; trouble: unknown };

let asked: Promise<Account> | undefined;

/** null until it is known. */
export function useAccount(): Account | null {
  const [account, setAccount] = useState<Account | null>(null);
  useEffect(() => {
    asked ??= ask();
    void asked.then(setAccount);
  }, []);
  return account;
}

async function ask(): Promise<Account> {
  try {
    const answer = await fetch("/api/account");
    if (!answer.ok) throw await refusal(answer);
    const { user } = (await answer.json()) as { user: Account["user"] };
    if (user) keepWorkOf(user.name);
    return { user, trouble: null };
  } catch (error) {
    return { user: null, trouble: error };
  }
}

/** What the app says after an action; the browser goes on by itself if it names the next page. Throws an Error. */
export async function act(action: string, fields: Record<string, string>): Promise<string | null> {
  const answer = await fetch(`/api/account/${action}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(fields),
  });
  if (!answer.ok) throw await refusal(answer);
  const said = (await answer.json()) as { next?: string; said?: string };
  if (action === "sign-out") forgetWork();
  if (said.next !== undefined) window.location.assign(said.next);
  return said.said ?? null;
}

/** The sign-in page, which comes back to this one. */
export function signInAddress(): string {
  return `/sign-in?next=${encodeURIComponent(window.location.pathname + window.location.search + window.location.hash)}`;
}
