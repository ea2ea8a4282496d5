"use client";

import { useTranslations } from "next-intl";
import type { ProducerRecord } from "producer-twin";
import { useEffect, useEffectEvent, useId, useState } from "react";
import { asking } from "@/lib/asking";
import { api } from "@/lib/client";
import { Fault, Form } from "../Form";
import { Notice } from "../Notice";
import { IdInput } from "./IdInput";

type Props = { own: ProducerRecord[]; chosen: string; add: (producers: ProducerRecord[]) => void; choose: (id: string) => void };

/** The producers of the signed-in user, one of which is chosen, and a form that claims another id. */
export function OwnProducers({ own, chosen, add, choose }: Props) {
  const t = useTranslations("producer");
  const id = useId();
  const [wanted, setWanted] = useState("");
  const [trouble, setTrouble] = useState<unknown>(null);

  const take = useEffectEvent((producers: ProducerRecord[]): void => {
    add(producers);
    if (producers[0]) choose(producers[0].producer_id);
  });
  useEffect(
    () => asking({ ask: (signal) => api.producers.list({ signal }), take: ({ producers }) => take(producers), trouble: setTrouble }),
    [],
  );

  async function claim(): Promise<void> {
    setTrouble(null);
    try {
      const claimed = await api.producers.set(wanted.trim());
      add([claimed]);
      setWanted("");
      choose(claimed.producer_id);
    } catch (error) {
      setTrouble(error);
    }
  }

  return (
    <section className="panel" aria-label={t("who")}>
      <div className="row">
        {own.length > 0 && (
          <div>
            <label htmlFor={`${id}own`}>{t("own")}</label>
            <select id={`${id}own`} value={chosen} onChange={(event) => choose(event.target.value)}>
              {own.map((each) => (
                <option key={each.producer_id}>{each.producer_id}</option>
              ))}
            </select>
          </div>
        )}
        <Form
          onSubmit={(event) => {
            event.preventDefault();
            void claim();
          }}
        >
          <label htmlFor={`${id}new`}>{t(own.length > 0 ? "claimAnother" : "claimFirst")}</label>
          <IdInput id={`${id}new`} required value={wanted} set={setWanted} />
          <Fault id={`${id}new`} />
          <p className="hint">{t("claimRule")}</p>
          <button type="submit">{t("claim")}</button>
        </Form>
      </div>
      <Notice>{trouble}</Notice>
    </section>
  );
}
