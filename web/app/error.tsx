"use client";

import { useTranslations } from "next-intl";

export default function Failed({ reset }: { reset: () => void }) {
  const t = useTranslations("site");
  return (
    <>
      <h1>{t("failedTitle")}</h1>
      <p className="lead">{t("failedLead")}</p>
      <button type="button" onClick={reset}>
        {t("tryAgain")}
      </button>
    </>
  );
}
