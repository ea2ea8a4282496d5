"use client";

import { useEffect, useRef, useState } from "react";
import { pageNonce } from "@/lib/nonce";

// Longer files take more memory to draw than it is worth.
const MOST_BYTES = 80 * 1024 * 1024;

type Props = { src: string; label: string; bytes?: number };

/** A player with its waveform. The browser's own controls work by keyboard and for screen readers; the wave is a picture. */
export function Sound({ src, label, bytes = 0 }: Props) {
  const wave = useRef<HTMLDivElement>(null);
  const player = useRef<HTMLAudioElement>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const tooLong = bytes > MOST_BYTES;

  useEffect(() => {
    const container = wave.current;
    const media = player.current;
    if (!container || !media || tooLong) return;
    let drawn: { destroy: () => void } | null = null;
    let gone = false;
    void import("wavesurfer.js").then(({ default: WaveSurfer }) => {
      if (gone) return;
      const made = WaveSurfer.create({
        container,
        media,
        // In full, as the player knows it: given another spelling, wavesurfer loads the player anew and stops what plays.
        url: media.src,
        cspNonce: pageNonce(),
        height: 56,
        barWidth: 2,
        barGap: 1,
        barRadius: 2,
        normalize: true,
        waveColor: "#5d6b82",
        progressColor: "#ffb454",
        cursorColor: "#ffb454",
      });
      made.on("error", () => setTrouble("This sound cannot be drawn here; it may still play."));
      drawn = made;
    });
    return () => {
      gone = true;
      drawn?.destroy();
    };
  }, [src, tooLong]);

  return (
    <div className="sound">
      <div ref={wave} className="wave" aria-hidden="true" />
      <audio ref={player} src={src} controls preload="metadata" aria-label={label} />
      {trouble && <p className="hint">{trouble}</p>}
    </div>
  );
}
