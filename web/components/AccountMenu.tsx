"use client";

import { useTranslations } from "next-intl";
import { useState } from "react";
import { act, useAccount } from "@/lib/account";
import { useWords } from "@/lib/useWords";
import { Notice } from "./Notice";
import { SignInLink } from "./SignInLink";

/** Who is signed in, and the way out; or the way in. */
export function AccountMenu() {
  const t = useTranslations("account");
  const words = useWords();
  const account = useAccount();
  const [trouble, setTrouble] = useState<string | null>(null);
  if (account === null) return <div className="account" aria-busy="true" />;
  if (account.user === null) {
    return (
      <div className="account">
        <SignInLink>{t("signIn")}</SignInLink>
        <Notice>{account.trouble === null ? null : words(account.trouble)}</Notice>
      </div>
    );
  }
  return (
    <div className="account" role="group" aria-label={t("title")}>
      <span>{account.user.name}</span>
      <button type="button" onClick={() => act("sign-out", {}).catch((error: unknown) => setTrouble(words(error)))}>
        {t("signOut")}
      </button>
      <Notice>{trouble}</Notice>
    </div>
  );
}
