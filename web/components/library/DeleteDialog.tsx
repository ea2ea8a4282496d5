"use client";

import { useTranslations } from "next-intl";
import { useState } from "react";
import type { StoredTrack } from "producer-twin";
import { deleteTrack } from "@/lib/library";
import { close as closePlayer, usePlayer } from "@/lib/player/player";
import { titleOf } from "@/lib/player/playable";
import { Dialog } from "../Dialog";
import { Notice } from "../Notice";

export function DeleteDialog({ track, deleted, close }: { track: StoredTrack; deleted: () => void; close: () => void }) {
  const t = useTranslations("library");
  const [trouble, setTrouble] = useState<unknown>(null);

  async function remove(): Promise<void> {
    try {
      await deleteTrack(track.track_id);
      const { a, b } = usePlayer.getState();
      if (a?.id === track.track_id || b?.id === track.track_id) closePlayer();
      deleted();
      close();
    } catch (error) {
      setTrouble(error);
    }
  }

  return (
    <Dialog label={t("deleteTitle")} close={close}>
      <p>{t("deleteAsk", { title: titleOf(track) })}</p>
      <Notice>{trouble}</Notice>
      <div className="actions">
        <button type="button" onClick={() => void remove()}>
          {t("delete")}
        </button>
        <button type="button" autoFocus onClick={close}>
          {t("cancel")}
        </button>
      </div>
    </Dialog>
  );
}
