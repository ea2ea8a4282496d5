"use client";

import { useTranslations } from "next-intl";
import { useEffect, useState } from "react";
import { asking } from "@/lib/asking";
import { api, here } from "@/lib/client";
import type { Report } from "@/lib/report";
import { Curve } from "./Curve";
import { Findings } from "./Findings";
import { Listen } from "./Listen";
import { SongTable } from "./SongTable";

/** A job's report in the page. Until the job is over, it has what is known of the music. */
export function JobReport({ jobId, over }: { jobId: string; over: boolean }) {
  const t = useTranslations("report");
  const [report, setReport] = useState<Report | null>(null);

  // It is left out where there is none.
  useEffect(
    () => asking({ ask: (signal) => api.jobs.report(jobId, { signal }), take: (found) => setReport(found as unknown as Report) }),
    [jobId],
  );

  if (!report) return null;
  const { data, training } = report;
  return (
    <div className="report">
      {over && <Findings report={report} />}
      {over && <Listen report={report} jobId={jobId} />}
      {over && training && (
        <Curve
          loss={training.loss}
          heldOut={training.held_out_loss}
          steps={training.total_steps}
          kept={training.held_out_loss.length > 0 ? (training.kept?.step ?? null) : null}
        />
      )}
      {data && <SongTable report={report} />}
      {report.unmeasured.length > 0 && (
        <>
          <h3>{t("unmeasured")}</h3>
          <ul className="hint" lang="en">
            {report.unmeasured.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        </>
      )}
      <a className="button" href={here(`/jobs/${encodeURIComponent(jobId)}/report`)} target="_blank" rel="noopener">
        {t("whole")}
      </a>
    </div>
  );
}
