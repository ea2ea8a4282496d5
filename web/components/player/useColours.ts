"use client";

import { useSyncExternalStore } from "react";

const DARK = "(prefers-color-scheme: dark)";

/** The colours of waveforms, by the style sheet, in the system's theme. */
export function useColours(): { wave: string; progress: string; selection: string } {
  const colours = useSyncExternalStore(onChange, read, () => ",,");
  const [wave = "", progress = "", selection = ""] = colours.split(",");
  return { wave, progress, selection };
}

function onChange(changed: () => void): () => void {
  const query = matchMedia(DARK);
  query.addEventListener("change", changed);
  return () => query.removeEventListener("change", changed);
}

function read(): string {
  const style = getComputedStyle(document.documentElement);
  return ["--edge", "--warm", "--selection"].map((name) => style.getPropertyValue(name).trim()).join(",");
}
