"use client";

import { useTranslations } from "next-intl";
import { activeSound, play, usePlayer } from "@/lib/player/player";
import type { Playable } from "@/lib/player/playable";

/** Plays a sound in the player, or pauses it there. */
export function PlayButton({ sound }: { sound: Playable }) {
  const t = useTranslations("player");
  const plays = usePlayer((state) => state.playing && activeSound(state)?.id === sound.id);
  return (
    <button
      type="button"
      className="round"
      onClick={() => play(sound)}
      aria-label={t(plays ? "pauseOf" : "playOf", { title: sound.title })}
    >
      <svg viewBox="0 0 24 24" aria-hidden="true">
        <path d={plays ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z"} />
      </svg>
    </button>
  );
}
