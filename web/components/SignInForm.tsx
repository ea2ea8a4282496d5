"use client";

import { useTranslations } from "next-intl";
import { useId, useState, type FormEvent } from "react";
import { act, useAccount } from "@/lib/account";
import { Notice } from "./Notice";

/** What the browser offers to fill the password with; null where none is asked for. */
const PASSWORDS = {
  "sign-in": "current-password",
  "sign-up": "new-password",
  reset: null,
  "new-password": "new-password",
} as const;

type Action = keyof typeof PASSWORDS;

/** Signs in with e-mail and password, makes an account, or asks for a new password. */
export function SignInForm({ first, next, trouble: before }: { first: Action; next: string; trouble: string | null }) {
  const t = useTranslations("signIn");
  const id = useId();
  const [action, setAction] = useState<Action>(first);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<unknown>(before);
  const password = PASSWORDS[action];
  // Before this script runs the browser itself would send the form.
  const isReady = useAccount() !== null;

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const fields = Object.fromEntries(
      [...new FormData(event.currentTarget)].map(([name, value]) => [name, String(value)]),
    );
    setBusy(true);
    setTrouble(null);
    setSaid(null);
    try {
      setSaid(await act(action, { ...fields, next }));
    } catch (error) {
      setTrouble(error);
    }
    setBusy(false);
  }

  function choose(other: Action): void {
    setAction(other);
    setTrouble(null);
    setSaid(null);
  }

  return (
    <section className="panel narrow" aria-labelledby={`${id}title`}>
      <h2 id={`${id}title`}>{t(`actions.${action}.title`)}</h2>
      <form method="post" onSubmit={(event) => void submit(event)}>
        {action !== "new-password" && (
          <>
            <label htmlFor={`${id}email`}>{t("email")}</label>
            <input id={`${id}email`} name="email" type="email" required autoComplete="username" />
          </>
        )}
        {password && (
          <>
            <label htmlFor={`${id}password`}>{t(action === "new-password" ? "newPassword" : "password")}</label>
            <input id={`${id}password`} name="password" type="password" required autoComplete={password} />
          </>
        )}
        <button type="submit" className="primary" disabled={busy || !isReady}>
          {t(`actions.${action}.button`)}
        </button>
      </form>
      <p role="status" className={said ? "hint" : "silent"}>
        {said}
      </p>
      <Notice>{trouble}</Notice>
      {action !== "new-password" && (
        <p className="actions">
          {(["sign-in", "sign-up", "reset"] as const)
            .filter((other) => other !== action)
            .map((other) => (
              <button key={other} type="button" onClick={() => choose(other)}>
                {t(`actions.${other}.title`)}
              </button>
            ))}
        </p>
      )}
    </section>
  );
}
