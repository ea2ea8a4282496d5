"use client";

import { useTranslations } from "next-intl";
import Link from "next/link";
import { fillForm } from "@/lib/making/form";
import type { Made } from "@/lib/making/request";
import type { TrackRequest } from "@/lib/making/requests";
import type { Playable } from "@/lib/player/playable";
import { activeSound, compare, positionOf, usePlayer } from "@/lib/player/player";
import { clock } from "@/lib/duration";
import { Downloads } from "../player/Downloads";
import { PlayButton } from "../PlayButton";
import { FiguresLine } from "./FiguresLine";
import "./cards.css";

/** A track that was made. `best`: it is the first by the request's order. */
export type LabelledTake = { request: TrackRequest; made: Made; label: string; best: boolean; sound: Playable };

type Props = { take: LabelledTake; against: LabelledTake | undefined; refill: () => void };

export function TakeItem({ take: { request, made, label, best, sound }, against, refill }: Props) {
  const t = useTranslations("make");
  const playing = usePlayer(activeSound);

  /** In place: with what is in the player, or else with another take of the request. */
  function listen(): void {
    const rival = playing && playing.id !== sound.id ? playing : against?.sound;
    if (rival) compare(rival, sound, playing && playing.id !== sound.id ? positionOf() - playing.zero + sound.zero : 0);
  }

  return (
    <li className="take" aria-label={label}>
      <div className="take-head">
        <PlayButton sound={sound} />
        <div>
          <p className="take-name">
            {label} {best && <span className="badge">{t("best")}</span>}
          </p>
          <p className="hint">{t("seedAndLength", { seed: String(made.seed), length: clock(made.seconds) })}</p>
        </div>
      </div>
      {made.figures && <FiguresLine figures={made.figures} />}
      <div className="actions">
        {(against || (playing && playing.id !== sound.id)) && (
          <button type="button" className="small" onClick={listen} aria-label={t("compareOf", { take: label })}>
            {t("compare")}
          </button>
        )}
        <button
          type="button"
          className="small"
          onClick={() => {
            fillForm({ ...request.body, seed: made.seed, takes: 1 });
            refill();
          }}
        >
          {t("sameSeed")}
        </button>
        {made.id && (
          <Link
            className="button small"
            href={`/track/${made.id}`}
            prefetch={false}
            aria-label={t("openOf", { take: label })}
          >
            {t("open")}
          </Link>
        )}
        <Downloads sound={sound} />
      </div>
    </li>
  );
}
