"use client";

import type { ReactNode } from "react";
import { signInAddress, useAccount } from "@/lib/account";

/** A part of a page for signed-in users. Others read why they should sign in. */
export function SignedIn({ why, children }: { why: string; children?: ReactNode }) {
  const account = useAccount();
  if (account === null) return null;
  if (account.user !== null) return children;
  return (
    <p className="panel">
      You are not signed in. <a href={signInAddress()}>Sign in</a> {why}.
    </p>
  );
}
