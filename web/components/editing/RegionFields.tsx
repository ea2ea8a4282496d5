"use client";

import { useTranslations } from "next-intl";
import { useEffect } from "react";
import type { StoredTrack } from "producer-twin";
import { playableOf } from "@/lib/player/playable";
import { activeSound, play, select, usePlayer } from "@/lib/player/player";
import { NumberField } from "../NumberField";

const MIN_SECONDS = 0.1;

type Props = { track: StoredTrack; start: string; end: string; change: (news: { start?: string; end?: string }) => void };

/** The part of a track that is made anew: selected in the player's waveform, or typed, which selects it there. */
export function RegionFields({ track, start, end, change }: Props) {
  const t = useTranslations("edit");
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
        <NumberField
          label={t("start")}
          name="start"
          min={0}
          max={length}
          step="any"
          required={end === ""}
          value={start}
          change={(typed) => type({ start: typed })}
        />
        <NumberField
          label={t("end")}
          name="end"
          min={0}
          max={length}
          step="any"
          required={start === ""}
          value={end}
          change={(typed) => type({ end: typed })}
        />
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
