"use client";

import { useTranslations } from "next-intl";
import type { ProducerRecord } from "producer-twin";
import { useId, useState } from "react";
import { api } from "@/lib/client";
import { twinLink } from "@/lib/links";
import { Notice } from "../Notice";

const VISIBILITIES = ["private", "link", "public"] as const;

type Access = ProducerRecord["twins"][string];
type Props = { twin: string; producer: ProducerRecord; changed: (producer: ProducerRecord) => void };

/** Who may make tracks with a twin, for its owner; and its link, where it is shared by one. */
export function TwinAccess({ twin, producer, changed }: Props) {
  const t = useTranslations("twins");
  const id = useId();
  const [trouble, setTrouble] = useState<unknown>(null);
  const model = twin.split(":")[1] ?? "";
  const access: Access = producer.twins[model] ?? { visibility: "private", link: null };

  async function open(visibility: Access["visibility"]): Promise<void> {
    setTrouble(null);
    try {
      changed(await api.producers.set(producer.producer_id, { twins: { [model]: visibility } }));
    } catch (error) {
      setTrouble(error);
    }
  }

  return (
    <div>
      <label htmlFor={`${id}who`}>{t("who")}</label>
      <select
        id={`${id}who`}
        value={access.visibility}
        onChange={(event) => void open(event.target.value as Access["visibility"])}
      >
        {VISIBILITIES.map((visibility) => (
          <option key={visibility} value={visibility}>
            {t(`visibility.${visibility}`)}
          </option>
        ))}
      </select>
      {access.link && (
        <>
          <label htmlFor={`${id}link`}>{t("link")}</label>
          <input id={`${id}link`} readOnly value={twinLink(twin, access.link)} onFocus={(event) => event.target.select()} />
        </>
      )}
      <Notice>{trouble}</Notice>
    </div>
  );
}
