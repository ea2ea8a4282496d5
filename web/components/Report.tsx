"use client";

import { useEffect, useState } from "react";
import { Curve, type Point } from "./Curve";

/** What the page shows of a report; the report's own page has all of it. */
type Document = {
  verdict: { verdict: string; sentence: string; advice: string } | null;
  data: { warnings: string[] } | null;
  training: { total_steps: number; loss: Point[]; held_out_loss: Point[] } | null;
};

/** Until the job is over, the report has what is known of the music. */
export function Report({ jobId, over }: { jobId: string; over: boolean }) {
  const [report, setReport] = useState<Document | null>(null);
  const address = `/api/service/jobs/${encodeURIComponent(jobId)}/report`;

  useEffect(() => {
    const leaving = new AbortController();
    fetch(`${address}.json`, { signal: leaving.signal })
      .then(async (answer) => {
        if (answer.ok) setReport((await answer.json()) as Document);
      })
      .catch(() => undefined); // it is left out where there is none
    return () => leaving.abort();
  }, [address]);

  if (!report) return null;
  const { verdict, data, training } = report;
  return (
    <div className="report">
      {verdict && (
        <>
          <p>
            <strong>{verdict.verdict}</strong>: {verdict.sentence}
          </p>
          <p>{verdict.advice}</p>
        </>
      )}
      {data && data.warnings.length > 0 && (
        <>
          <h4>What to do about the music</h4>
          <ul className="hint">
            {data.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </>
      )}
      {over && training && <Curve loss={training.loss} heldOut={training.held_out_loss} steps={training.total_steps} />}
      <a className="button" href={address} target="_blank" rel="noopener">
        The whole report
      </a>
    </div>
  );
}
