"use client";

import { useFormatter, useTranslations } from "next-intl";
import { valueOf, type Report } from "@/lib/report";

const VERDICTS = ["learned", "weak", "overfitted", "lost", "too little data"] as const;
const MAX_FORGOTTEN = 0.1; // as in training/evaluation/ratings.py

/** What was measured of a twin, in plain words: the verdict, what to do, and the distances to the producer's music. */
export function Findings({ report }: { report: Report }) {
  const t = useTranslations("report");
  const format = useFormatter();
  const { verdict, held_out: heldOut, trained_on: trainedOn, other_music: otherMusic } = report;
  const word = VERDICTS.find((known) => known === verdict?.verdict);
  const slug = word === "too little data" ? "little" : word;
  const percent = (share: number, signDisplay: "exceptZero" | "never" = "exceptZero"): string =>
    format.number(share, { style: "percent", maximumFractionDigits: 1, signDisplay });
  const facts = [
    heldOut && t("heldOut", { gain: percent(heldOut.gain) }),
    heldOut && heldOut.low !== null && heldOut.low <= 0 && t("mayBeChance"),
    trainedOn && t("trainedOn", { gain: percent(trainedOn.gain) }),
    otherMusic && otherMusic.gain < -MAX_FORGOTTEN && t("forgotten", { loss: percent(otherMusic.gain, "never") }),
  ].filter((fact): fact is string => typeof fact === "string");
  return (
    <>
      {verdict &&
        (slug ? (
          <div className={`verdict ${slug}`}>
            <p>
              <strong>{t(`verdicts.${slug}.title`)}</strong> {t(`verdicts.${slug}.meaning`)}
            </p>
            <p>{t(`verdicts.${slug}.advice`)}</p>
          </div>
        ) : (
          <p lang="en">
            {verdict.verdict}: {verdict.sentence}
          </p>
        ))}
      {facts.length > 0 && (
        <ul>
          {facts.map((fact) => (
            <li key={fact}>{fact}</li>
          ))}
        </ul>
      )}
      <Nearness report={report} />
    </>
  );
}

/** Distances to the producer's music as bars, and a warning where other music is nearer to it. */
function Nearness({ report: { resemblance } }: { report: Report }) {
  const t = useTranslations("report");
  const format = useFormatter();
  if (!resemblance) return null;
  const rows = (["own", "with_twin", "without", "other_music"] as const).flatMap((name) => {
    const value = valueOf(resemblance[name]);
    return value === null ? [] : [{ name, value }];
  });
  const at = Object.fromEntries(rows.map(({ name, value }) => [name, value])) as Partial<Record<(typeof rows)[number]["name"], number>>;
  const most = Math.max(...rows.map(({ value }) => value), 1e-9);
  const { own, with_twin: twin, other_music: other } = at;
  return (
    <>
      <h3>{t("nearness")}</h3>
      <p className="hint">{t("nearnessHint")}</p>
      <table className="nearness">
        <tbody>
          {rows.map(({ name, value }) => (
            <tr key={name}>
              <th scope="row">{t(`pieces.${name}`)}</th>
              <td>
                <meter aria-hidden="true" min={0} max={most} value={Math.max(0, value)} />
              </td>
              <td>{format.number(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 })}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {other !== undefined && twin !== undefined && other < twin && <p className="notice">{t("otherNearerThanTwin")}</p>}
      {other !== undefined && own !== undefined && other < own && <p className="notice">{t("otherNearerThanOwn")}</p>}
    </>
  );
}
