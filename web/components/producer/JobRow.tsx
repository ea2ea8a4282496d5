"use client";

import { useFormatter, useTranslations } from "next-intl";
import dynamic from "next/dynamic";
import { hasEnded, type Job } from "producer-twin";
import { useEffect, useId, useRef, useState } from "react";
import { api, here } from "@/lib/client";
import { duration } from "@/lib/duration";
import { useJob } from "@/lib/useJob";
import { Confirm } from "../Confirm";
import { Notice } from "../Notice";
import { When } from "../When";
import { Curve } from "./Curve";

// It is seen only once a row unfolds.
const JobReport = dynamic(() => import("./JobReport").then((module) => module.JobReport));

type Props = { first: Job; isOpen: boolean; fold: () => void; changed: () => void };

/** A training as one row, which unfolds: how far, how well, what it sounds like, and how to end it or go on. */
export function JobRow({ first, isOpen, fold, changed }: Props) {
  const t = useTranslations("training");
  const id = useId();
  const [trouble, setTrouble] = useState<unknown>(null);
  const { job, loss, heldOut, trouble: away } = useJob(first);
  const over = hasEnded(job);
  const told = useRef(hasEnded(first));

  useEffect(() => {
    // Its end may have made a version, also a partial one.
    if (over && !told.current) changed();
    told.current = over;
  }, [over, changed]);

  async function ask(call: () => Promise<unknown>, done: () => void): Promise<void> {
    setTrouble(null);
    try {
      await call();
      done();
    } catch (error) {
      setTrouble(error);
    }
  }

  const cancel = () => ask(() => api.jobs.cancel(job.job_id), () => undefined);
  const resume = () => ask(() => api.jobs.resume(job.job_id), changed);
  const remove = () => ask(() => api.jobs.delete(job.job_id), changed);
  const name = job.model_name;
  return (
    <li className="panel job" aria-label={t("row", { name, id: job.job_id })}>
      <div className="job-row">
        <button type="button" className="fold" aria-expanded={isOpen} aria-controls={`${id}more`} onClick={fold}>
          <span aria-hidden="true">{isOpen ? "▾" : "▸"}</span> {name}
        </button>
        <span className="hint">
          {job.backend} · <When at={job.created_at} />
        </span>
        <p role="status" className={`state ${job.state}`}>
          {t(`states.${job.state}`)}
          {job.state === "queued" && job.queue_position !== null && t("place", { place: job.queue_position })}
        </p>
        <span className="actions">
          {!over && (
            <button type="button" onClick={() => void cancel()}>
              {t("cancel")}
            </button>
          )}
          {(job.state === "cancelled" || job.state === "failed") && (
            <button type="button" onClick={() => void resume()}>
              {t("resume")}
            </button>
          )}
          {over && (
            <Confirm
              label={t("deleteOne", { name })}
              question={t("deleteQuestion", { name })}
              detail={t("deleteDetail")}
              yes={t("delete")}
              act={() => void remove()}
            >
              {t("delete")}
            </Confirm>
          )}
        </span>
      </div>
      {!over && <Progress job={job} />}
      <Notice>{trouble ?? away}</Notice>
      {job.error && (
        <p className="hint" lang="en">
          {job.error}
        </p>
      )}
      <div id={`${id}more`} hidden={!isOpen}>
        {isOpen && !over && <Curve loss={loss} heldOut={heldOut} steps={job.total_steps ?? loss.at(-1)?.[0] ?? 1} kept={null} />}
        {isOpen && job.previews.length > 0 && (
          <>
            <h3>{t("previews")}</h3>
            <ul className="previews">
              {job.previews.map((preview) => (
                <li key={preview.url}>
                  <span>{t("step", { step: preview.step })}</span>
                  <audio controls preload="none" src={here(preview.url)} aria-label={t("preview", { step: preview.step })} />
                </li>
              ))}
            </ul>
          </>
        )}
        {isOpen && job.state !== "failed" && (over || job.step !== null) && <JobReport key={job.state} jobId={job.job_id} over={over} />}
      </div>
    </li>
  );
}

function Progress({ job }: { job: Job }) {
  const t = useTranslations("training");
  const format = useFormatter();
  const { progress, seconds_left: left } = job;
  if (progress) {
    const { done, total, unit, stage } = progress;
    return (
      <>
        <progress aria-label={t("progress")} value={done} max={total} />
        <p className="hint">
          {t(`stages.${stage}`, { done, total, unit })}
          {left !== null && left > 0 && ` · ${t("aboutLeft", { time: duration(left) })}`}
        </p>
      </>
    );
  }
  if (job.step === null || job.total_steps === null) return <progress aria-label={t("progress")} />;
  const number = (value: number, digits: number) => format.number(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (
    <>
      <progress aria-label={t("progress")} value={job.step} max={job.total_steps} />
      <p className="hint">
        {[
          t("stepOf", { step: job.step, total: job.total_steps }),
          job.loss !== null && t("loss", { value: number(job.loss, 3) }),
          job.held_out_loss !== null && t("heldOutLoss", { value: number(job.held_out_loss, 3) }),
          job.steps_per_second !== null && t("speed", { value: number(job.steps_per_second, 1) }),
          left !== null && t("left", { time: duration(left) }),
        ]
          .filter(Boolean)
          .join(" · ")}
      </p>
    </>
  );
}
