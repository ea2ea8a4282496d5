"use client";

import { useTranslations } from "next-intl";
import { useEffect, useEffectEvent, useId, useState } from "react";
import { Fault, Input } from "../Form";

const ACCEPT = ".wav,.flac,.mp3,.ogg,.opus,.m4a,audio/*";

/** Takes files that are chosen, or dropped anywhere on the page: the browser would open one that is dropped beside the box. */
export function DropBox({ add, required }: { add: (files: File[]) => void; required: boolean }) {
  const t = useTranslations("newTwin");
  const id = useId();
  const [isOver, setOver] = useState(false);
  const take = useEffectEvent(add);

  useEffect(() => {
    const over = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false); // the pointer left the window
    };
    const drop = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(false);
      take([...event.dataTransfer.files]);
    };
    const listeners = { dragover: over, dragleave: leave, drop };
    for (const [name, listener] of Object.entries(listeners)) window.addEventListener(name, listener as EventListener);
    return () => {
      for (const [name, listener] of Object.entries(listeners)) window.removeEventListener(name, listener as EventListener);
    };
  }, []);

  return (
    <div className={isOver ? "drop over" : "drop"}>
      <label htmlFor={`${id}files`}>{t("drop")}</label>
      <Input
        id={`${id}files`}
        type="file"
        multiple
        required={required}
        accept={ACCEPT}
        aria-describedby={`${id}formats`}
        onChange={(event) => {
          add([...(event.target.files ?? [])]);
          event.target.value = "";
        }}
      />
      <Fault id={`${id}files`} />
      <p id={`${id}formats`} className="hint">
        {t("formats")}
      </p>
    </div>
  );
}
