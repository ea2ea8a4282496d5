"use client";

import { useTranslations } from "next-intl";
import { useRouter } from "next/navigation";
import { useEffect, useState } from "react";
import type { StoredTrack } from "producer-twin";
import { fillForm } from "@/lib/making/form";
import { show } from "@/lib/player/player";
import { playableOf, titleOf } from "@/lib/player/playable";
import { requestOf } from "@/lib/settings";
import { EditPanel } from "../editing/EditPanel";
import { TrackActions } from "../library/TrackActions";
import { FiguresLine } from "../making/FiguresLine";
import { PlayButton } from "../PlayButton";
import { Details } from "./Details";
import { Family } from "./Family";
import "./track.css";

/** A track's page: to play it, to see all that made it, to edit it, and its family. */
export function TrackView({ first }: { first: StoredTrack }) {
  const t = useTranslations("track");
  const router = useRouter();
  const [track, setTrack] = useState(first);

  useEffect(() => show(playableOf(first)), [first]);

  return (
    <>
      <div className="track-head">
        <PlayButton sound={playableOf(track)} />
        <h1>{titleOf(track)}</h1>
        <TrackActions track={track} changed={setTrack} deleted={() => router.push("/library")} />
      </div>
      {track.title !== null && <p className="lead">{track.prompt}</p>}
      <div className="columns track-columns">
        <section aria-labelledby="details">
          <h2 id="details">{t("madeWith")}</h2>
          <Details track={track} />
          {track.figures && <FiguresLine figures={track.figures} />}
          <div className="actions">
            <button
              type="button"
              onClick={() => {
                fillForm(requestOf(track));
                router.push("/");
              }}
            >
              {t("again")}
            </button>
          </div>
        </section>
        <div>
          <EditPanel track={track} />
          <Family track={track} />
        </div>
      </div>
    </>
  );
}
