"use client";

import { useTranslations } from "next-intl";
import type { Version } from "producer-twin";
import { useState } from "react";
import { api, here } from "@/lib/client";
import { Confirm } from "../Confirm";
import { Notice } from "../Notice";
import { When } from "../When";

const AUDITION_SECONDS = 10;
const AUDITION_SEED = 1; // the same for all versions, so that they can be compared

type Props = { version: Version; prompt: string; use: () => void };

export function VersionRow({ version, prompt, use }: Props) {
  const t = useTranslations("twins");
  const [busy, setBusy] = useState(false);
  const [src, setSrc] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<unknown>(null);
  const short = version.version.slice(0, 8);
  const [step, steps] = version.partial?.split("/") ?? [];

  async function audition(): Promise<void> {
    setBusy(true);
    setTrouble(null);
    try {
      const lora_id = `${version.lora_id}@${version.version}`;
      const made = await api.generate(prompt, { lora_id, duration_seconds: AUDITION_SECONDS, seed: AUDITION_SEED });
      setSrc(here(made.output_path));
    } catch (error) {
      setTrouble(error);
    }
    setBusy(false);
  }

  return (
    <li>
      <span>
        <code>{short}</code> <When at={version.created_at} /> {step && <em className="partial">{t("partial", { step, steps: steps ?? "?" })}</em>}
      </span>
      <span className="actions">
        <button type="button" disabled={busy || !version.usable} aria-label={t(busy ? "makingOne" : "listenOne", { version: short })} onClick={() => void audition()}>
          {busy ? t("making") : t("listen")}
        </button>
        {version.current ? (
          <strong>{t("inUse")}</strong>
        ) : (
          <Confirm
            label={t("useOne", { version: short })}
            question={t("useQuestion", { version: short })}
            detail={[step && t("usePartial", { step, steps: steps ?? "?" }), t("useDetail", { twin: version.lora_id })].filter(Boolean).join(" ")}
            yes={t("use")}
            act={use}
          >
            {t("use")}
          </Confirm>
        )}
        <a
          className="button"
          href={`/api/service/loras/${encodeURIComponent(version.lora_id)}/file?version=${version.version}`}
          aria-label={t("exportOne", { version: short })}
          download
        >
          {t("export")}
        </a>
      </span>
      {src && <audio controls autoPlay src={src} aria-label={t("audition", { version: short })} />}
      <Notice>{trouble}</Notice>
    </li>
  );
}
