"use client";

import { useEffect, useId, useState, type FormEvent } from "react";
import { answered, service, words, type Producer } from "@/lib/client";
import { Notice } from "./Notice";

type Props = {
  pattern: string;
  own: Producer[];
  chosen: string;
  add: (producers: Producer[]) => void;
  choose: (id: string) => void;
};

/** The producers of the signed-in user, one of which is chosen, and a form that claims another id. */
export function OwnProducers({ pattern, own, chosen, add, choose }: Props) {
  const id = useId();
  const [wanted, setWanted] = useState("");
  const [trouble, setTrouble] = useState<string | null>(null);

  useEffect(() => {
    answered(service.GET("/producers")).then(
      ({ producers }) => {
        add(producers);
        if (producers[0]) choose(producers[0].producer_id);
      },
      (error: unknown) => setTrouble(words(error)),
    );
    // Once: the first one is chosen when the page opens.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);

  async function claim(event: FormEvent): Promise<void> {
    event.preventDefault();
    setTrouble(null);
    try {
      const claimed = await answered(service.PUT("/producers/{producer_id}", { params: { path: { producer_id: wanted } } }));
      add([claimed]);
      setWanted("");
      choose(claimed.producer_id);
    } catch (error) {
      setTrouble(words(error));
    }
  }

  return (
    <section className="panel" aria-label="Who you are">
      <div className="row">
        {own.length > 0 && (
          <div>
            <label htmlFor={`${id}own`}>Your producer</label>
            <select id={`${id}own`} value={chosen} onChange={(event) => choose(event.target.value)}>
              {own.map((each) => (
                <option key={each.producer_id}>{each.producer_id}</option>
              ))}
            </select>
          </div>
        )}
        <form onSubmit={(event) => void claim(event)}>
          <label htmlFor={`${id}new`}>{own.length > 0 ? "Claim another producer id" : "Claim your producer id"}</label>
          <input
            id={`${id}new`}
            required
            pattern={pattern}
            maxLength={64}
            autoCapitalize="none"
            spellCheck={false}
            aria-describedby={`${id}rule`}
            value={wanted}
            onChange={(event) => setWanted(event.target.value.trim())}
          />
          <p id={`${id}rule`} className="hint">
            Letters, digits and . _ -, such as ada. It is yours if it is free.
          </p>
          <button type="submit">Claim it</button>
        </form>
      </div>
      <Notice>{trouble}</Notice>
    </section>
  );
}
