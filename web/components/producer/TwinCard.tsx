"use client";

import { useTranslations } from "next-intl";
import type { Twin, Version } from "producer-twin";
import { useEffect, useId, useState, type ReactNode } from "react";
import { asking } from "@/lib/asking";
import { api } from "@/lib/client";
import { Confirm } from "../Confirm";
import { Notice } from "../Notice";
import { VersionRow } from "./VersionRow";

/** `round` is another one when the versions are to be listed again; `children` come below them. */
type Props = { twin: Twin; round: number; changed: () => void; children?: ReactNode };

/** A twin and its versions: to hear one, to use it, to train the twin again, and to delete it. */
export function TwinCard({ twin, round, changed, children }: Props) {
  const t = useTranslations("twins");
  const field = useId();
  const [versions, setVersions] = useState<Version[]>([]);
  const [prompt, setPrompt] = useState(t("prompt"));
  const [trouble, setTrouble] = useState<unknown>(null);
  const id = twin.lora_id;

  useEffect(
    () => asking({ ask: (signal) => api.twins.versions(id, { signal }), take: setVersions, trouble: setTrouble }),
    [id, twin.version, round],
  );

  async function ask(call: () => Promise<unknown>): Promise<void> {
    setTrouble(null);
    try {
      await call();
      changed();
    } catch (error) {
      setTrouble(error);
    }
  }

  const use = (version: string) => ask(() => api.twins.rollBack(id, version));
  const retrain = () => ask(() => api.twins.retrain(id));
  const remove = () => ask(() => api.twins.delete(id));
  return (
    <li className="panel" aria-label={t("row", { twin: id })}>
      <h3>
        {id} <span className="hint">{twin.backend}</span>
      </h3>
      {!twin.usable && twin.reason && (
        <p className="hint" lang="en">
          {twin.reason}
        </p>
      )}
      <label htmlFor={`${field}prompt`}>{t("promptLabel")}</label>
      <input id={`${field}prompt`} maxLength={2000} value={prompt} onChange={(event) => setPrompt(event.target.value)} />
      <ul className="versions">
        {versions.map((version) => (
          <VersionRow key={version.version} version={version} prompt={prompt || t("prompt")} use={() => void use(version.version)} />
        ))}
      </ul>
      <Notice>{trouble}</Notice>
      <div className="actions">
        <Confirm
          label={t("retrainOne", { twin: id })}
          question={t("retrainQuestion", { twin: id })}
          detail={t("retrainDetail")}
          yes={t("retrain")}
          act={() => void retrain()}
        >
          {t("retrain")}
        </Confirm>
        <Confirm
          label={t("deleteOne", { twin: id })}
          question={t("deleteQuestion", { twin: id })}
          detail={t("deleteDetail", { count: versions.length })}
          yes={t("delete")}
          act={() => void remove()}
        >
          {t("delete")}
        </Confirm>
      </div>
      {children}
    </li>
  );
}
