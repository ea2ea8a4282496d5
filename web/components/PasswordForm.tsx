"use client";

import { useTranslations } from "next-intl";
import { useId, useState, type FormEvent } from "react";
import { usePassword } from "@/lib/password";

/** Asks for the app's password where a route wants it. */
export function PasswordForm() {
  const t = useTranslations("library");
  const id = useId();
  const { password, wanted } = usePassword();
  const [typed, setTyped] = useState("");
  if (!wanted) return null;

  function submit(event: FormEvent): void {
    event.preventDefault();
    usePassword.setState({ password: typed, wanted: false });
  }

  return (
    <form className="panel narrow" onSubmit={submit}>
      <label htmlFor={id}>{t("password")}</label>
      <input
        id={id}
        type="password"
        autoComplete="off"
        required
        autoFocus={password !== ""} // it was wrong: the form was away while it was tried
        aria-describedby={`${id}why`}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
      />
      <p id={`${id}why`} className={password ? "fault" : "hint"}>
        {t(password ? "passwordWrong" : "passwordWhy")}
      </p>
      <button type="submit">{t("passwordSend")}</button>
    </form>
  );
}
