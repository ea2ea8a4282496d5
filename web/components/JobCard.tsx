"use client";

import { useEffect, useRef, useState } from "react";
import { answered, here, passwordHeader, service, words, type Job } from "@/lib/client";
import { duration } from "@/lib/duration";
import { hasEnded, useJob } from "@/lib/useJob";
import { Curve } from "./Curve";
import { Notice } from "./Notice";
import { Report } from "./Report";

const STATES: Record<Job["state"], string> = {
  queued: "Waiting for its turn",
  preparing: "Preparing the music",
  tagging: "Describing the segments",
  training: "Training",
  evaluating: "Measuring what it learned",
  done: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

type Props = { first: Job; password: string; ended: () => void };

/** A training as it goes on: how far, how well, what it sounds like, and how to end it or go on. */
export function JobCard({ first, password, ended }: Props) {
  const [round, setRound] = useState(0);
  const [trouble, setTrouble] = useState<string | null>(null);
  const { job, loss, heldOut, trouble: away } = useJob(first, round);
  const over = hasEnded(job);
  const told = useRef(hasEnded(first));

  useEffect(() => {
    if (over && !told.current) ended();
    told.current = over;
  }, [over, ended]);

  async function ask(what: "cancel" | "resume"): Promise<void> {
    setTrouble(null);
    const sent = { params: { path: { job_id: job.job_id } }, headers: passwordHeader(password) };
    try {
      await answered(what === "cancel" ? service.POST("/jobs/{job_id}/cancel", sent) : service.POST("/jobs/{job_id}/resume", sent));
      if (what === "resume") setRound((old) => old + 1);
    } catch (error) {
      setTrouble(words(error));
    }
  }

  return (
    <li className="panel job" aria-label={`Training ${job.job_id}`}>
      <h3>
        {job.model_name} <span className="hint">{job.backend}</span>
      </h3>
      <p role="status" className={`state ${job.state}`}>
        {STATES[job.state]}
        {job.state === "queued" && job.queue_position !== null && `, number ${job.queue_position}`}
      </p>
      {!over && <Progress job={job} />}
      {!over && <Curve loss={loss} heldOut={heldOut} steps={job.total_steps ?? loss.at(-1)?.[0] ?? 1} />}
      {job.error && <p className="hint">{job.error}</p>}
      {job.previews.length > 0 && (
        <ul className="previews">
          {job.previews.map((preview) => (
            <li key={preview.url}>
              <span>Step {preview.step}</span>
              <audio controls preload="none" src={here(preview.url)} aria-label={`Preview at step ${preview.step}`} />
            </li>
          ))}
        </ul>
      )}
      {job.state !== "failed" && (over || job.step !== null) && <Report key={job.state} jobId={job.job_id} over={over} />}
      <Notice>{trouble ?? away}</Notice>
      <div className="actions">
        {!over && (
          <button type="button" onClick={() => void ask("cancel")}>
            Cancel
          </button>
        )}
        {(job.state === "cancelled" || job.state === "failed") && (
          <button type="button" onClick={() => void ask("resume")}>
            Resume
          </button>
        )}
      </div>
    </li>
  );
}

const STAGES: Record<NonNullable<Job["progress"]>["stage"], string> = {
  fetching: "fetched",
  analysing: "analysed",
  cutting: "cut",
  listening: "listened to",
  tagging: "described",
  encoding: "encoded for the model",
};

function Progress({ job }: { job: Job }) {
  const { progress } = job;
  const left = job.seconds_left;
  if (progress) {
    return (
      <>
        <progress aria-label="Progress" value={progress.done} max={progress.total} />
        <p className="hint">
          {progress.done} of {progress.total} {progress.unit} {STAGES[progress.stage]}
          {left !== null && left > 0 && ` · about ${duration(left)} left`}
        </p>
      </>
    );
  }
  if (job.step === null || job.total_steps === null) return <progress aria-label="Progress" />;
  return (
    <>
      <progress aria-label="Progress" value={job.step} max={job.total_steps} />
      <p className="hint">
        Step {job.step} of {job.total_steps}
        {job.loss !== null && ` · loss ${job.loss.toFixed(3)}`}
        {job.held_out_loss !== null && ` · held out ${job.held_out_loss.toFixed(3)}`}
        {job.steps_per_second !== null && ` · ${job.steps_per_second.toFixed(1)} steps a second`}
        {left !== null && ` · ${duration(left)} left`}
      </p>
    </>
  );
}
