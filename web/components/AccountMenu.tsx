"use client";

import { useTranslations } from "next-intl";
import { useState } from "react";
import { act, useAccount } from "@/lib/account";
import { Notice } from "./Notice";
import { SignInLink } from "./SignInLink";

/** Who is signed in, and the way out; or the way in. */
export function AccountMenu() {
  const t = useTranslations("account");
  const account = useAccount();
  const [trouble, setTrouble] = useState<unknown>(null);
  if (account === null) return <div className="account" aria-busy="true" />;
  if (account.user === null) {
    return (
      <div className="account">
        <SignInLink>{t("signIn")}</SignInLink>
        <Notice>{account.trouble}</Notice>
      </div>
    );
  }
  return (
    <div className="account" role="group" aria-label={t("title")}>
      <span>{account.user.name}</span>
      <button type="button" onClick={() => act("sign-out", {}).catch((error: unknown) => setTrouble(error))}>
        {t("signOut")}
      </button>
      <Notice>{trouble}</Notice>
    </div>
  );
}
