"use client";

import { useEffect, useId, useState } from "react";
import { answered, service, words, type Producer } from "@/lib/client";
import { twinLink } from "@/lib/links";
import { Notice } from "./Notice";

const WHO = { private: "You alone", link: "Those who have its link", public: "Everybody" } as const;

type Access = Producer["twins"][string];

/** Who may make tracks with a twin, for its owner; and its link, where it is shared by one. */
export function TwinAccess({ twin }: { twin: string }) {
  const id = useId();
  const [producer = "", model = ""] = twin.split(":");
  const [access, setAccess] = useState<Access | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);

  useEffect(() => {
    answered(service.GET("/producers")).then(
      ({ producers }) => setAccess(accessOf(producers.find((each) => each.producer_id === producer), model)),
      (error: unknown) => setTrouble(words(error)),
    );
  }, [producer, model]);

  async function open(visibility: Access["visibility"]): Promise<void> {
    setTrouble(null);
    try {
      const params = { path: { producer_id: producer } };
      const body = { twins: { [model]: visibility } };
      setAccess(accessOf(await answered(service.PUT("/producers/{producer_id}", { params, body })), model));
    } catch (error) {
      setTrouble(words(error));
    }
  }

  if (access === null) return <Notice>{trouble}</Notice>;
  return (
    <div>
      <label htmlFor={`${id}who`}>Who may make tracks with it</label>
      <select
        id={`${id}who`}
        value={access.visibility}
        onChange={(event) => void open(event.target.value as Access["visibility"])}
      >
        {Object.entries(WHO).map(([visibility, name]) => (
          <option key={visibility} value={visibility}>
            {name}
          </option>
        ))}
      </select>
      {access.link && (
        <>
          <label htmlFor={`${id}link`}>Its link</label>
          <input id={`${id}link`} readOnly value={twinLink(twin, access.link)} onFocus={(event) => event.target.select()} />
        </>
      )}
      <Notice>{trouble}</Notice>
    </div>
  );
}

function accessOf(producer: Producer | undefined, model: string): Access {
  return producer?.twins[model] ?? { visibility: "private", link: null };
}
