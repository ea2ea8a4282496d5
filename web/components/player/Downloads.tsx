"use client";

import { useTranslations } from "next-intl";
import type { Playable } from "@/lib/player/playable";
import { FORMATS } from "@/lib/settings";
import { Menu } from "../Menu";

const LOSSY = ["mp3", "opus", "m4a"];

/** The sound as a file: as it is stored, and in every format that can be made of that. */
export function Downloads({ sound }: { sound: Playable }) {
  const t = useTranslations("player");
  const stored = sound.format ?? "wav";
  const formats = sound.format === null || LOSSY.includes(stored) ? [stored] : FORMATS;
  return (
    <Menu label={t("download")} name={t("downloadOf", { title: sound.title })}>
      {formats.map((format) => (
        <li key={format}>
          <a href={format === stored ? sound.src : `${sound.src}?format=${format}`} download={fileName(sound.title, format)}>
            {format.toUpperCase()}
          </a>
        </li>
      ))}
    </Menu>
  );
}

function fileName(title: string, format: string): string {
  const stem = title
    .replace(/[^\p{L}\p{N} _-]+/gu, "")
    .trim()
    .slice(0, 60);
  return `${stem || "track"}.${format}`;
}
