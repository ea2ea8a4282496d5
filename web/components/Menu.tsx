"use client";

import { useEffect, useRef, type ReactNode } from "react";

/** A button that opens a list of actions; Escape, a choice or a click elsewhere closes it. */
export function Menu({ label, name, children }: { label: string; name?: string; children: ReactNode }) {
  const details = useRef<HTMLDetailsElement>(null);

  useEffect(() => {
    const closeIfElsewhere = (event: Event): void => {
      const menu = details.current;
      if (menu?.open && !menu.contains(event.target as Node)) menu.open = false;
    };
    document.addEventListener("pointerdown", closeIfElsewhere);
    document.addEventListener("focusin", closeIfElsewhere);
    return () => {
      document.removeEventListener("pointerdown", closeIfElsewhere);
      document.removeEventListener("focusin", closeIfElsewhere);
    };
  }, []);

  function close(): void {
    if (details.current) details.current.open = false;
  }

  return (
    <details
      ref={details}
      className="menu"
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !details.current?.open) return;
        close();
        details.current.querySelector("summary")?.focus();
      }}
    >
      <summary aria-label={name}>{label}</summary>
      <ul onClick={close}>{children}</ul>
    </details>
  );
}
