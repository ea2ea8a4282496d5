"use client";

import { useTranslations } from "next-intl";
import { useState } from "react";
import type { StoredTrack } from "producer-twin";
import { changeTrack } from "@/lib/library";
import { titleOf } from "@/lib/player/playable";
import { Menu } from "../Menu";
import { Said } from "../Said";
import { DeleteDialog } from "./DeleteDialog";
import { RenameDialog } from "./RenameDialog";
import "./rows.css";

type Props = { track: StoredTrack; changed: (track: StoredTrack) => void; deleted: () => void };

/** Like, rename, share and delete. */
export function TrackActions({ track, changed, deleted }: Props) {
  const t = useTranslations("library");
  const [dialog, setDialog] = useState<"rename" | "delete" | null>(null);
  const [news, setNews] = useState<unknown>("");
  const title = titleOf(track);

  async function like(): Promise<void> {
    try {
      changed(await changeTrack(track.track_id, { liked: !track.liked }));
      setNews("");
    } catch (error) {
      setNews(error);
    }
  }

  async function share(): Promise<void> {
    const url = new URL(`/track/${track.track_id}`, window.location.href).href;
    try {
      await navigator.clipboard.writeText(url);
      setNews(t("linkCopied"));
    } catch {
      // Without TLS, or without permission, the address is there to be copied by hand.
      setNews(url);
    }
  }

  return (
    <div className="track-actions">
      <button
        type="button"
        className="plain like"
        aria-pressed={track.liked === true}
        aria-label={t("like", { title })}
        onClick={() => void like()}
      >
        {track.liked ? "♥" : "♡"}
      </button>
      <Menu label={t("more")} name={t("moreOf", { title })}>
        <li>
          <button type="button" onClick={() => setDialog("rename")}>
            {t("rename")}
          </button>
        </li>
        <li>
          <button type="button" onClick={() => void share()}>
            {t("share")}
          </button>
        </li>
        <li>
          <button type="button" onClick={() => setDialog("delete")}>
            {t("delete")}
          </button>
        </li>
      </Menu>
      <p role="status" className="hint news">
        <Said>{news}</Said>
      </p>
      {dialog === "rename" && <RenameDialog track={track} changed={changed} close={() => setDialog(null)} />}
      {dialog === "delete" && <DeleteDialog track={track} deleted={deleted} close={() => setDialog(null)} />}
    </div>
  );
}
