"use client";

import { useTranslations } from "next-intl";
import { useEffect, useRef, useState } from "react";
import { clock } from "@/lib/duration";
import { peaksOf } from "@/lib/peaks";

const BARS = 120;

/** Plays a file. Its waveform, drawn of the file itself, is the scrubber. */
export function BeatWave({ file, src, name }: { file: File; src: string; name: string }) {
  const t = useTranslations("beats");
  const player = useRef<HTMLAudioElement>(null);
  const [peaks, setPeaks] = useState<number[] | null>(null);
  const [isPlaying, setPlaying] = useState(false);
  const [at, setAt] = useState(0);
  const [length, setLength] = useState(0);

  useEffect(() => {
    let gone = false;
    void peaksOf(file, BARS).then((found) => !gone && setPeaks(found));
    return () => {
      gone = true;
    };
  }, [file]);

  function toggle(): void {
    const audio = player.current;
    if (!audio) return;
    if (audio.paused) audio.play().catch(() => setPlaying(false));
    else audio.pause();
  }

  const played = length > 0 ? at / length : 0;
  return (
    <>
      <button type="button" className="play" aria-label={isPlaying ? t("pause", { name }) : t("play", { name })} onClick={toggle}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d={isPlaying ? "M6 4h4v16H6zM14 4h4v16h-4z" : "M7 4l13 8-13 8z"} />
        </svg>
      </button>
      <div className="beat-wave">
        <svg viewBox={`0 0 ${BARS} 64`} preserveAspectRatio="none" aria-hidden="true">
          {peaks?.map((peak, bar) => (
            <rect
              key={bar}
              className={bar / BARS < played ? "played" : undefined}
              x={bar + 0.15}
              width={0.7}
              y={32 - Math.max(1, 30 * peak)}
              height={2 * Math.max(1, 30 * peak)}
            />
          ))}
        </svg>
        <input
          type="range"
          aria-label={t("position", { name })}
          aria-valuetext={`${clock(at)} / ${clock(length)}`}
          min={0}
          max={length || 1}
          step="any"
          value={at}
          onChange={(event) => {
            const seconds = Number(event.target.value);
            setAt(seconds);
            if (player.current) player.current.currentTime = seconds;
          }}
        />
      </div>
      <audio
        ref={player}
        src={src}
        preload="metadata"
        onPlay={() => setPlaying(true)}
        onPause={() => setPlaying(false)}
        onTimeUpdate={(event) => setAt(event.currentTarget.currentTime)}
        onDurationChange={(event) => setLength(Number.isFinite(event.currentTarget.duration) ? event.currentTarget.duration : 0)}
      />
    </>
  );
}
