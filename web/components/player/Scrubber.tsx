"use client";

import { useTranslations } from "next-intl";
import { useEffect, useState, type KeyboardEvent } from "react";
import { mediaOf, seek, type Side } from "@/lib/player/player";
import type { Playable } from "@/lib/player/playable";
import { usePeaks } from "@/lib/player/usePeaks";
import { clock } from "@/lib/duration";
import { Waveform } from "./Waveform";

/** The waveform as a slider. The arrow keys are those of the whole player. */
export function Scrubber({ side, sound }: { side: Side; sound: Playable }) {
  const t = useTranslations("player");
  const peaks = usePeaks(sound);
  const second = useSecond(side);

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    seek(event.key === "Home" ? 0 : sound.seconds);
  }

  return (
    <div className="scrubber">
      <div
        role="slider"
        tabIndex={0}
        aria-label={t("position")}
        aria-valuemin={0}
        aria-valuemax={Math.round(sound.seconds)}
        aria-valuenow={second}
        aria-valuetext={t("positionOf", { position: clock(second), length: clock(sound.seconds) })}
        onKeyDown={onKeyDown}
      >
        {sound.live ? (
          <progress className="wave" aria-hidden="true" max={sound.seconds} value={second} />
        ) : peaks === undefined ? (
          <div className="wave" />
        ) : (
          <Waveform key={sound.id} side={side} sound={sound} peaks={peaks} />
        )}
      </div>
      <span className="clock" aria-hidden="true">
        {clock(second)} / {clock(sound.seconds)}
      </span>
    </div>
  );
}

/** The whole second that is played. */
function useSecond(side: Side): number {
  const [second, setSecond] = useState(0);
  useEffect(() => {
    const audio = mediaOf(side);
    const read = (): void => setSecond(Math.floor(audio.currentTime));
    const events = ["timeupdate", "seeking", "loadedmetadata"];
    read();
    for (const event of events) audio.addEventListener(event, read);
    return () => {
      for (const event of events) audio.removeEventListener(event, read);
    };
  }, [side]);
  return second;
}
