"use client";

import { useTranslations } from "next-intl";
import Link from "next/link";
import type { StoredTrack } from "producer-twin";
import { playableOf, titleOf } from "@/lib/player/playable";
import { clock } from "@/lib/duration";
import { PlayButton } from "../PlayButton";
import { When } from "../When";
import { TrackActions } from "./TrackActions";
import "./rows.css";

type Props = { track: StoredTrack; changed: (track: StoredTrack) => void; deleted: () => void };

export function TrackRow({ track, changed, deleted }: Props) {
  const tasks = useTranslations("tasks");
  const t = useTranslations("library");
  const title = titleOf(track);
  const twins = track.twins.map((twin) => twin.lora_id).join(", ") || t("noTwin");
  return (
    <li className="track-row" aria-label={title}>
      <PlayButton sound={playableOf(track)} />
      <div>
        <Link href={`/track/${track.track_id}`} prefetch={false}>
          {title}
        </Link>
        <p className="hint">
          {[
            twins,
            ...(track.task === undefined || track.task === "text" ? [] : [tasks(track.task)]),
            clock(track.duration_seconds),
          ].join(" · ")}
          {" · "}
          <When at={track.created_at} />
        </p>
      </div>
      <TrackActions track={track} changed={changed} deleted={deleted} />
    </li>
  );
}
