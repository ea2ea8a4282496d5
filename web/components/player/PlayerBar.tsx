"use client";

import { useTranslations } from "next-intl";
import Link from "next/link";
import { activeSound, close, select, switchSides, toggle, toggleLoop, usePlayer } from "@/lib/player/player";
import { clock } from "@/lib/duration";
import { Downloads } from "./Downloads";
import { Keyboard } from "./Keyboard";
import { Scrubber } from "./Scrubber";
import { useShortcuts } from "./useShortcuts";
import "./player.css";

/** The player at the bottom of the window. */
export function PlayerBar() {
  const t = useTranslations("player");
  const state = usePlayer();
  const { a, b, active, playing, region, loop, levels } = state;
  const sound = activeSound(state);
  useShortcuts();
  if (!sound) return null;
  const compared = a && b;
  return (
    <section className="player" aria-label={t("name")}>
      <div className="player-row">
        <button type="button" className="round" onClick={toggle} aria-label={t(playing ? "pause" : "play")}>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d={playing ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z"} />
          </svg>
        </button>
        <p className="player-title">
          {sound.format === null ? sound.title : <Link href={`/track/${sound.id}`}>{sound.title}</Link>}
        </p>
        {compared && (
          <button
            type="button"
            onClick={switchSides}
            aria-label={t("switchTo", { side: active.toUpperCase(), title: (active === "a" ? b : a).title })}
          >
            {t("switch", { side: active.toUpperCase() })}
          </button>
        )}
        <button type="button" aria-pressed={loop} onClick={toggleLoop}>
          {t("loop")}
        </button>
        {!sound.live && <Downloads sound={sound} />}
        <button type="button" className="plain" onClick={close} aria-label={t("close")}>
          ×
        </button>
      </div>
      <Scrubber key={`${active}${sound.id}${sound.live}`} side={active} sound={sound} />
      <div className="hint player-notes">
        {region && (
          <>
            {t("region", { start: clock(region.start), end: clock(region.end) })}{" "}
            <button type="button" className="plain" onClick={() => select(null)}>
              {t("clear")}
            </button>
          </>
        )}
        <Keyboard />
        {compared && <span>{t(levels ? "levelsMatched" : "levelsUnmatched")}</span>}
        {state.failed && <span role="alert">{t(sound.live ? "brokenOff" : "failed")}</span>}
      </div>
    </section>
  );
}
