"use client";

import { useTranslations } from "next-intl";
import { useId } from "react";
import { IdInput } from "./IdInput";
import { isId } from "./ids";

type Props = { id: string; setId: (id: string) => void; password: string; setPassword: (password: string) => void };

/** Whose page it is, where nobody signs in. */
export function ProducerId({ id: producer, setId, password, setPassword }: Props) {
  const t = useTranslations("producer");
  const id = useId();
  const isRefused = producer.trim() !== "" && !isId(producer.trim());
  return (
    <section className="panel" aria-label={t("who")}>
      <div className="row">
        <div>
          <label htmlFor={`${id}producer`}>{t("id")}</label>
          <IdInput
            id={`${id}producer`}
            required
            aria-describedby={`${id}rule`}
            aria-invalid={isRefused}
            value={producer}
            set={setId}
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
