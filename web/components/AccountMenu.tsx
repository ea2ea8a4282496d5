"use client";

import { useState } from "react";
import { act, signInAddress, useAccount } from "@/lib/account";
import { words } from "@/lib/client";
import { Notice } from "./Notice";

/** Who is signed in, and the way out; or the way in. */
export function AccountMenu() {
  const account = useAccount();
  const [trouble, setTrouble] = useState<string | null>(null);
  if (account === null) return <div className="account" aria-busy="true" />;
  if (account.user === null) {
    return (
      <div className="account">
        <a href={signInAddress()}>Sign in</a>
        <Notice>{account.trouble}</Notice>
      </div>
    );
  }
  return (
    <div className="account" role="group" aria-label="Account">
      <span>{account.user.name}</span>
      <button type="button" onClick={() => act("sign-out", {}).catch((error: unknown) => setTrouble(words(error)))}>
        Sign out
      </button>
      <Notice>{trouble}</Notice>
    </div>
  );
}
