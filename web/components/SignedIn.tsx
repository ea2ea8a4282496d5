"use client";

import type { ReactNode } from "react";
import { useAccount } from "@/lib/account";

/** A part of a page for signed-in users. Others read `invitation`, which has a SignInLink. */
export function SignedIn({ invitation, children }: { invitation: ReactNode; children?: ReactNode }) {
  const account = useAccount();
  if (account === null) return null;
  if (account.user !== null) return children;
  return <p className="panel">{invitation}</p>;
}
