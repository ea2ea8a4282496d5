"use client";

import { useTranslations } from "next-intl";
import { useId } from "react";
import { ID_PATTERN, isId } from "./ids";

type Props = { id: string; setId: (id: string) => void; password: string; setPassword: (password: string) => void };

/** Whose page it is, where nobody signs in. */
export function ProducerId({ id: producer, setId, password, setPassword }: Props) {
  const t = useTranslations("producer");
  const id = useId();
  const isRefused = producer !== "" && !isId(producer);
  return (
    <section className="panel" aria-label={t("who")}>
      <div className="row">
        <div>
          <label htmlFor={`${id}producer`}>{t("id")}</label>
          <input
            id={`${id}producer`}
            required
            pattern={ID_PATTERN}
            maxLength={64}
            autoCapitalize="none"
            spellCheck={false}
            aria-describedby={`${id}rule`}
            aria-invalid={isRefused}
            value={producer}
            onChange={(event) => setId(event.target.value.trim())}
          />
          <p id={`${id}rule`} className={isRefused ? "fault" : "hint"} aria-live="polite">
            {isRefused && `${t("idRefused")} `}
            {t("idRule")}
          </p>
        </div>
        <div>
          <label htmlFor={`${id}password`}>{t("password")}</label>
          <input
            id={`${id}password`}
            type="password"
            autoComplete="off"
            aria-describedby={`${id}kept`}
            value={password}
            onChange={(event) => setPassword(event.target.value)}
          />
          <p id={`${id}kept`} className="hint">
            {t("passwordHint")}
          </p>
        </div>
      </div>
    </section>
  );
}
