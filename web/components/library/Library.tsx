"use client";

import { useTranslations } from "next-intl";
import Link from "next/link";
import { useEffect, useId, useRef, useState } from "react";
import { wantsPassword } from "@/lib/password";
import { useTracks, type Filter } from "@/lib/useTracks";
import { useTwins } from "@/lib/useTwins";
import { Notice } from "../Notice";
import { PasswordForm } from "../PasswordForm";
import { TrackRow } from "./TrackRow";
import "./library.css";
import "./rows.css";

const TYPING_MILLISECONDS = 300;

/** The tracks, the newest first, with a search. `first` is the filter that the page's address names. */
export function Library({ first }: { first: Filter }) {
  const t = useTranslations("library");
  const id = useId();
  const [text, setText] = useState(first.text);
  const [filter, setFilter] = useState(first);
  const { served } = useTwins();
  const { tracks, busy, hasMore, failure, more, replace, remove } = useTracks(filter);
  const filtered = filter.text !== "" || filter.twin !== "" || filter.liked;

  function choose(news: Partial<Filter>): void {
    const next = { ...filter, ...news };
    setFilter(next);
    const query = new URLSearchParams();
    if (next.text) query.set("text", next.text);
    if (next.twin) query.set("twin", next.twin);
    if (next.liked) query.set("liked", "true");
    window.history.replaceState(null, "", query.size ? `?${query}` : window.location.pathname);
  }

  const typed = useRef<ReturnType<typeof setTimeout>>(undefined);
  function search(words: string): void {
    setText(words);
    clearTimeout(typed.current);
    typed.current = setTimeout(() => choose({ text: words.trim() }), TYPING_MILLISECONDS);
  }

  return (
    <>
      <search className="filters">
        <div>
          <label htmlFor={`${id}text`}>{t("search")}</label>
          <input
            id={`${id}text`}
            type="search"
            placeholder={t("searchFor")}
            value={text}
            onChange={(event) => search(event.target.value)}
          />
        </div>
        <div>
          <label htmlFor={`${id}twin`}>{t("twin")}</label>
          <select id={`${id}twin`} value={filter.twin} onChange={(event) => choose({ twin: event.target.value })}>
            <option value="">{t("anyTwin")}</option>
            {filter.twin && !served?.twins.some((twin) => twin.lora_id === filter.twin) && <option>{filter.twin}</option>}
            {served?.twins.map((twin) => (
              <option key={twin.lora_id}>{twin.lora_id}</option>
            ))}
          </select>
        </div>
        <label className="check">
          <input type="checkbox" checked={filter.liked} onChange={(event) => choose({ liked: event.target.checked })} />
          {t("likedOnly")}
        </label>
      </search>
      <PasswordForm />
      <Notice>{failure === null || wantsPassword(failure) ? null : failure}</Notice>
      {tracks === null && failure === null && <p role="status">{t("loading")}</p>}
      {tracks !== null && (
        <ol className="tracks" aria-label={t("tracks")} aria-busy={busy}>
          {tracks.map((track) => (
            <TrackRow key={track.track_id} track={track} changed={replace} deleted={() => remove(track.track_id)} />
          ))}
        </ol>
      )}
      {tracks?.length === 0 && !busy && !hasMore && (
        <p className="hint">
          {filtered ? t("noneFound") : t.rich("empty", { link: (words) => <Link href="/">{words}</Link> })}
        </p>
      )}
      {hasMore && <More more={more} label={t("showMore")} />}
    </>
  );
}

/** A button that is pressed by itself when it comes into view. */
function More({ more, label }: { more: () => Promise<void>; label: string }) {
  const button = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    const seen = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting) void more();
    });
    if (button.current) seen.observe(button.current);
    return () => seen.disconnect();
  }, [more]);

  return (
    <button ref={button} type="button" onClick={() => void more()}>
      {label}
    </button>
  );
}
