"use client";

import { useTranslations } from "next-intl";
import { useId, useState, type FormEvent } from "react";
import type { StoredTrack } from "producer-twin";
import { changeTrack } from "@/lib/library";
import { Dialog } from "../Dialog";
import { Notice } from "../Notice";

const MAX_TITLE = 200;

type Props = { track: StoredTrack; changed: (track: StoredTrack) => void; close: () => void };

export function RenameDialog({ track, changed, close }: Props) {
  const t = useTranslations("library");
  const id = useId();
  const [title, setTitle] = useState(track.title ?? "");
  const [trouble, setTrouble] = useState<unknown>(null);

  async function save(event: FormEvent): Promise<void> {
    event.preventDefault();
    try {
      changed(await changeTrack(track.track_id, { title: title.trim() }));
      close();
    } catch (error) {
      setTrouble(error);
    }
  }

  return (
    <Dialog label={t("rename")} close={close}>
      <form onSubmit={(event) => void save(event)}>
        <label htmlFor={id}>{t("title")}</label>
        <input
          id={id}
          autoFocus
          maxLength={MAX_TITLE}
          placeholder={track.prompt}
          value={title}
          onChange={(event) => setTitle(event.target.value)}
        />
        <p className="hint">{t("titleEmpty")}</p>
        <Notice>{trouble}</Notice>
        <div className="actions">
          <button type="submit">{t("save")}</button>
          <button type="button" onClick={close}>
            {t("cancel")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
