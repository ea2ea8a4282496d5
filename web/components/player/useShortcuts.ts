"use client";

import { useEffect } from "react";
import { skip, toggle, toggleLoop } from "@/lib/player/player";
import { useSingleKeys } from "@/lib/player/singleKeys";

const SKIPPED_SECONDS = 5;
const TYPED_IN = "input, select, textarea, [contenteditable]";
const PRESSED = "button, a, summary";

/** Space plays and pauses, the arrows jump, L loops: wherever these keys do not mean something else, or are switched off. */
export function useShortcuts(): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      const target = event.target as Element;
      if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || target.closest(TYPED_IN)) return;
      if (document.querySelector("dialog[open]")) return;
      const action = actionOf(event.key, target);
      if (!action) return;
      event.preventDefault();
      action();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}

function actionOf(key: string, target: Element): (() => void) | null {
  if (key === "ArrowLeft") return () => skip(-SKIPPED_SECONDS);
  if (key === "ArrowRight") return () => skip(SKIPPED_SECONDS);
  if (!useSingleKeys.getState().on) return null;
  if (key === " ") return target.closest(PRESSED) ? null : toggle;
  return key.toLowerCase() === "l" ? toggleLoop : null;
}
