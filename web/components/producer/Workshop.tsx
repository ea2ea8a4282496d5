"use client";

import { useTranslations } from "next-intl";
import dynamic from "next/dynamic";
import { hasEnded, type Job, type ProducerRecord } from "producer-twin";
import { useId, useState } from "react";
import { usePassword } from "@/lib/password";
import { useProducer } from "@/lib/useProducer";
import { useSettled } from "@/lib/useSettled";
import { Notice } from "../Notice";
import { NewTwin } from "./NewTwin";
import { OwnProducers } from "./OwnProducers";
import { isId } from "./ids";
import { ProducerId } from "./ProducerId";
import { StorageUsed } from "./StorageUsed";
import "./producer.css";

// They wait for the producer's lists.
const ImportTwin = dynamic(() => import("./ImportTwin").then((module) => module.ImportTwin));
const JobRow = dynamic(() => import("./JobRow").then((module) => module.JobRow));
const TwinAccess = dynamic(() => import("./TwinAccess").then((module) => module.TwinAccess));
const TwinCard = dynamic(() => import("./TwinCard").then((module) => module.TwinCard));
const Usage = dynamic(() => import("./Usage").then((module) => module.Usage));

const TYPING_MILLISECONDS = 400;

/** The producer's page: what runs, a new twin, earlier trainings, and the twins. `hasSignIn`: users own producers. */
export function Workshop({ hasSignIn }: { hasSignIn: boolean }) {
  const t = useTranslations("producer");
  const id = useId();
  const [typed, setTyped] = useState("");
  const password = usePassword((state) => state.password);
  const [records, setRecords] = useState<Record<string, ProducerRecord>>({}); // of the signed-in user's producers
  // Whether a training is unfolded, by its id; those that run are, until the user says otherwise.
  const [unfolded, setUnfolded] = useState<Record<string, boolean>>({});
  const settled = useSettled(typed, TYPING_MILLISECONDS);
  const producer = settled === typed && isId(typed.trim()) ? typed.trim() : "";
  const { listed, trouble, list } = useProducer(producer, useSettled(password, TYPING_MILLISECONDS));

  function keep(changed: ProducerRecord[]): void {
    setRecords((all) => ({ ...all, ...Object.fromEntries(changed.map((each) => [each.producer_id, each])) }));
  }

  const record = records[producer];
  const running = listed?.jobs.filter((job) => !hasEnded(job)) ?? [];
  const ended = listed?.jobs.filter(hasEnded) ?? [];
  const isOpen = (job: Job): boolean => unfolded[job.job_id] ?? !hasEnded(job);
  const rows = (jobs: Job[]) => (
    <ol className="cards">
      {jobs.map((job) => (
        <JobRow
          key={job.job_id}
          first={job}
          isOpen={isOpen(job)}
          fold={() => setUnfolded((all) => ({ ...all, [job.job_id]: !isOpen(job) }))}
          changed={() => {
            // One that ends while it is watched stays unfolded.
            setUnfolded((all) => ({ [job.job_id]: true, ...all }));
            list();
          }}
        />
      ))}
    </ol>
  );
  return (
    <>
      {hasSignIn ? (
        <OwnProducers own={Object.values(records)} chosen={typed} add={keep} choose={setTyped} />
      ) : (
        <ProducerId id={typed} setId={setTyped} password={password} setPassword={(typed) => usePassword.setState({ password: typed, wanted: false })} />
      )}
      <Notice>{trouble}</Notice>

      {running.length > 0 && (
        <section aria-labelledby={`${id}running`}>
          <h2 id={`${id}running`}>{t("running")}</h2>
          {rows(running)}
        </section>
      )}

      <NewTwin producer={producer} twins={listed?.twins ?? []} started={list} />

      {ended.length > 0 && (
        <section aria-labelledby={`${id}trainings`}>
          <h2 id={`${id}trainings`}>{t("trainings")}</h2>
          {rows(ended)}
        </section>
      )}

      {listed && listed.twins.length > 0 && (
        <section aria-labelledby={`${id}twins`}>
          <h2 id={`${id}twins`}>{t("twins")}</h2>
          <ul className="cards">
            {listed.twins.map((twin) => (
              <TwinCard key={twin.lora_id} twin={twin} round={listed.round} changed={list}>
                {record && <TwinAccess twin={twin.lora_id} producer={record} changed={(changed) => keep([changed])} />}
              </TwinCard>
            ))}
          </ul>
        </section>
      )}

      {listed && <ImportTwin key={producer} producer={producer} imported={list} />}
      {listed?.stored && <StorageUsed stored={listed.stored} />}
      {hasSignIn && listed && <Usage producer={producer} />}
    </>
  );
}
