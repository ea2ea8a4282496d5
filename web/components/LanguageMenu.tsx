"use client";

import { useLocale, useTranslations } from "next-intl";
import { useRouter } from "next/navigation";
import { LANGUAGE_COOKIE, LANGUAGES } from "@/i18n/languages";

const YEAR_SECONDS = 365 * 24 * 3600;

/** Chooses the language of the app, and remembers it in a cookie. */
export function LanguageMenu() {
  const t = useTranslations("site");
  const router = useRouter();

  function choose(language: string): void {
    document.cookie = `${LANGUAGE_COOKIE}=${language}; path=/; max-age=${YEAR_SECONDS}; samesite=lax`;
    router.refresh();
  }

  return (
    <select className="language" aria-label={t("language")} value={useLocale()} onChange={(event) => choose(event.target.value)}>
      {Object.entries(LANGUAGES).map(([language, name]) => (
        <option key={language} value={language} lang={language}>
          {name}
        </option>
      ))}
    </select>
  );
}
