"use client";

import { useCallback, useEffect, useId, useState } from "react";
import { answered, service, words, type Job, type Producer, type Twin } from "@/lib/client";
import { JobCard } from "./JobCard";
import { NewTwin } from "./NewTwin";
import { Notice } from "./Notice";
import { OwnProducers } from "./OwnProducers";
import { TwinAccess } from "./TwinAccess";
import { Usage } from "./Usage";
import { Versions } from "./Versions";

const ID = "[A-Za-z0-9_\\-][A-Za-z0-9._\\-]{0,63}";

/** The producer's page: a new twin, the trainings, and the versions of each twin. `hasSignIn`: users own producers. */
export function Workshop({ hasSignIn }: { hasSignIn: boolean }) {
  const id = useId();
  const [producer, setProducer] = useState("");
  const [password, setPassword] = useState("");
  const [records, setRecords] = useState<Record<string, Producer>>({}); // of the signed-in user's producers
  const [listed, setListed] = useState<{ producer: string; jobs: Job[]; twins: Twin[] } | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const valid = new RegExp(`^${ID}$`).test(producer);
  const refused = producer !== "" && !valid;

  const list = useCallback(async (): Promise<void> => {
    const query = { params: { query: { producer_id: producer } } };
    try {
      const [{ jobs }, { loras }] = await Promise.all([
        answered(service.GET("/jobs", query)),
        answered(service.GET("/loras", query)),
      ]);
      setListed({ producer, jobs, twins: loras });
      setTrouble(null);
    } catch (error) {
      setTrouble(words(error));
    }
  }, [producer]);

  useEffect(() => {
    if (!valid) return;
    // A name that is still being typed is not asked for.
    const timer = setTimeout(() => void list(), 400);
    return () => clearTimeout(timer);
  }, [list, valid]);

  function keep(changed: Producer[]): void {
    setRecords((all) => ({ ...all, ...Object.fromEntries(changed.map((each) => [each.producer_id, each])) }));
  }

  const record = records[producer];
  const own = listed?.producer === producer ? listed : null;
  return (
    <>
      {hasSignIn ? (
        <>
          <OwnProducers pattern={ID} own={Object.values(records)} chosen={producer} add={keep} choose={setProducer} />
          <Notice>{trouble}</Notice>
        </>
      ) : (
        <section className="panel" aria-label="Who you are">
          <div className="row">
            <div>
              <label htmlFor={`${id}producer`}>Producer id</label>
              <input
                id={`${id}producer`}
                required
                pattern={ID}
                maxLength={64}
                autoCapitalize="none"
                spellCheck={false}
                aria-describedby={`${id}rule`}
                aria-invalid={refused}
                value={producer}
                onChange={(event) => setProducer(event.target.value.trim())}
              />
              <p id={`${id}rule`} className={refused ? "fault" : "hint"} aria-live="polite">
                {refused && "This is no producer id. "}Letters, digits and . _ -, such as ada
              </p>
            </div>
            <div>
              <label htmlFor={`${id}password`}>Password</label>
              <input
                id={`${id}password`}
                type="password"
                autoComplete="off"
                aria-describedby={`${id}kept`}
                value={password}
                onChange={(event) => setPassword(event.target.value)}
              />
              <p id={`${id}kept`} className="hint">
                If this service has one. It is kept until you leave this page.
              </p>
            </div>
          </div>
          <Notice>{trouble}</Notice>
        </section>
      )}

      {valid && <NewTwin key={producer} producer={producer} password={password} started={() => void list()} />}

      {own && own.jobs.length > 0 && (
        <section aria-labelledby={`${id}jobs`}>
          <h2 id={`${id}jobs`}>Trainings</h2>
          <ol className="cards">
            {own.jobs.map((job) => (
              <JobCard key={job.job_id} first={job} password={password} ended={() => void list()} />
            ))}
          </ol>
        </section>
      )}

      {own && own.twins.length > 0 && (
        <section aria-labelledby={`${id}twins`}>
          <h2 id={`${id}twins`}>Twins</h2>
          <ul className="cards">
            {own.twins.map((twin) => (
              <Versions key={`${twin.lora_id}@${twin.version}`} twin={twin} password={password} changed={() => void list()}>
                {record && <TwinAccess twin={twin.lora_id} producer={record} changed={(changed) => keep([changed])} />}
              </Versions>
            ))}
          </ul>
        </section>
      )}

      {hasSignIn && own && <Usage producer={producer} />}
    </>
  );
}
