"use client";

import { useEffect } from "react";

let question: string | null = null;

/** While `active`, asks before the page is left: the browser in its own words, a link of this app in those of `asked`. */
export function useLeavingGuard(active: boolean, asked: string): void {
  useEffect(() => {
    if (!active) return;
    question = asked;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => {
      question = null;
      window.removeEventListener("beforeunload", warn);
    };
  }, [active, asked]);
}

/** Whether the page may be left by a link of this app; asks the user if need be. */
export const mayLeave = (): boolean => question === null || window.confirm(question);
