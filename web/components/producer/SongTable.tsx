"use client";

import { useFormatter, useLocale, useTranslations } from "next-intl";
import { clock } from "@/lib/duration";
import { keyName } from "@/lib/keyName";
import { gainsOf, type Report } from "@/lib/report";

/** The music of a training: how much there was, what became of each song, and warnings. */
export function SongTable({ report }: { report: Report }) {
  const t = useTranslations("report");
  const format = useFormatter();
  const locale = useLocale();
  const { data } = report;
  if (!data) return null;
  const gains = gainsOf(report);
  const songs = data.by_song ?? [];
  return (
    <>
      <h3>{t("music")}</h3>
      <p>{t("amount", { count: data.songs, time: clock(data.trained_seconds) })}</p>
      {data.warnings.length > 0 && (
        <ul className="hint" lang="en">
          {data.warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
      {songs.length > 0 && (
        <div className="scroll" tabIndex={0} role="region" aria-label={t("music")}>
          <table>
            <thead>
              <tr>
                {(["song", "length", "use", "tempo", "key", "gain"] as const).map((column) => (
                  <th key={column} scope="col">
                    {t(`columns.${column}`)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {songs.map((song) => {
                const gain = gains.get(song.song);
                const use = song.duplicate_of !== null ? "duplicate" : song.segments === 0 ? "empty" : song.held_out ? "heldOut" : "trained";
                return (
                  <tr key={song.song}>
                    <th scope="row">{song.name}</th>
                    <td>{clock(song.seconds)}</td>
                    <td>{t(`uses.${use}`)}</td>
                    <td>{song.tempo?.source ? format.number(Number(song.tempo.value), { maximumFractionDigits: 1 }) : "–"}</td>
                    <td>{song.key?.source ? keyName(String(song.key.value), locale) : "–"}</td>
                    <td>
                      {gain === undefined ? "–" : format.number(gain, { style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero" })}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
