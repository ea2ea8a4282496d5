"use client";

import { useTranslations } from "next-intl";
import { useId, useRef } from "react";
import { changeForm } from "@/lib/making/form";
import { STRUCTURE_TAGS } from "@/lib/making/presets";
import { Fault, TextArea } from "../Form";

/** Lyrics, with buttons for the tags of a song's parts. */
export function LyricsField({ value }: { value: string }) {
  const t = useTranslations("make");
  const id = useId();
  const field = useRef<HTMLTextAreaElement>(null);

  function insert(tag: string): void {
    const area = field.current;
    if (!area) return;
    const before = value.slice(0, area.selectionStart);
    const line = `${before === "" || before.endsWith("\n") ? "" : "\n"}${tag}\n`;
    area.focus();
    area.setRangeText(line, area.selectionStart, area.selectionEnd, "end");
    changeForm({ lyrics: area.value });
  }

  return (
    <>
      <label htmlFor={id}>{t("lyrics")}</label>
      <TextArea
        id={id}
        name="lyrics"
        ref={field}
        rows={4}
        maxLength={8000}
        value={value}
        onChange={(event) => changeForm({ lyrics: event.target.value })}
      />
      <Fault id={id} />
      <div className="actions" role="group" aria-label={t("structure")}>
        {STRUCTURE_TAGS.map((tag) => (
          <button key={tag} type="button" className="small" onClick={() => insert(tag)}>
            {tag}
          </button>
        ))}
      </div>
    </>
  );
}
