"use client";

import { useTranslations } from "next-intl";
import { useEffect, useId } from "react";
import type { StoredTrack } from "producer-twin";
import { playableOf } from "@/lib/player/playable";
import { activeSound, play, select, usePlayer } from "@/lib/player/player";
import { Fault, Input } from "../Form";

const MIN_SECONDS = 0.1;

type Props = { track: StoredTrack; start: string; end: string; change: (news: { start?: string; end?: string }) => void };

/** The part of a track that is made anew: selected in the player's waveform, or typed, which selects it there. */
export function RegionFields({ track, start, end, change }: Props) {
  const t = useTranslations("edit");
  const id = useId();
  const isPlayers = usePlayer((state) => activeSound(state)?.id === track.track_id);
  const region = usePlayer((state) => state.region);
  const length = track.duration_seconds;

  useEffect(() => {
    if (isPlayers && region) change({ start: region.start.toFixed(2), end: region.end.toFixed(2) });
    // The fields follow the waveform; `change` is another function at each render.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [isPlayers, region]);

  function type(news: { start?: string; end?: string }): void {
    change(news);
    const [from, to] = [Number(news.start ?? start), Number((news.end ?? end) || length)];
    if (isPlayers && from >= 0 && to <= length && to - from >= MIN_SECONDS) select({ start: from, end: to });
  }

  return (
    <>
      <div className="row">
        <div>
          <label htmlFor={`${id}start`}>{t("start")}</label>
          <Input
            id={`${id}start`}
            name="start"
            type="number"
            min={0}
            max={length}
            step="any"
            required={end === ""}
            value={start}
            onChange={(event) => type({ start: event.target.value })}
          />
          <Fault id={`${id}start`} />
        </div>
        <div>
          <label htmlFor={`${id}end`}>{t("end")}</label>
          <Input
            id={`${id}end`}
            name="end"
            type="number"
            min={0}
            max={length}
            step="any"
            required={start === ""}
            value={end}
            onChange={(event) => type({ end: event.target.value })}
          />
          <Fault id={`${id}end`} />
        </div>
      </div>
      {!isPlayers && (
        <div className="actions">
          <button type="button" onClick={() => play(playableOf(track))}>
            {t("putInPlayer")}
          </button>
        </div>
      )}
    </>
  );
}
