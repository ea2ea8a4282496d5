"use client";

import { useTranslations } from "next-intl";
import Link from "next/link";
import { useEffect, useState } from "react";
import type { StoredTrack } from "producer-twin";
import { asking } from "@/lib/asking";
import { editsOf, isMissing, otherTakesOf, storedTrack } from "@/lib/library";
import { useRequests } from "@/lib/making/requests";
import { usePassword, wantsPassword } from "@/lib/password";
import { playableOf, titleOf } from "@/lib/player/playable";
import { compare } from "@/lib/player/player";
import { clock } from "@/lib/duration";
import { RequestCard } from "../making/RequestCard";
import { Notice } from "../Notice";
import { PasswordForm } from "../PasswordForm";
import { PlayButton } from "../PlayButton";
import "../library/rows.css";

type Kin = { of: string; parent: StoredTrack | null; edits: StoredTrack[]; takes: StoredTrack[] };

/** The track that this one was made from, its edits, those under way too, and the other takes of its request. */
export function Family({ track }: { track: StoredTrack }) {
  const t = useTranslations("track");
  const { requests } = useRequests();
  const asked = requests.filter(({ parent }) => parent === track.track_id);
  const open = asked.filter(({ state }) => state !== "made");
  const { kin, trouble } = useKin(track, asked.length - open.length);
  const empty = kin && !kin.parent && kin.edits.length === 0 && kin.takes.length === 0 && open.length === 0;
  return (
    <section aria-labelledby="family">
      <h2 id="family">{t("family")}</h2>
      <PasswordForm />
      <Notice>{trouble}</Notice>
      <ol className="cards">
        {open.map((request) => (
          <RequestCard key={request.id} requests={[request]} refill={() => undefined} />
        ))}
      </ol>
      {kin?.parent && <KinList name={t("parent")} track={track} kin={[kin.parent]} />}
      {kin && kin.edits.length > 0 && <KinList name={t("edits")} track={track} kin={kin.edits} />}
      {kin && kin.takes.length > 0 && <KinList name={t("otherTakes")} track={track} kin={kin.takes} />}
      {empty && <p className="hint">{t("noFamily")}</p>}
    </section>
  );
}

/** `finished`: how many edits of this page are done, after each of which the family is asked for again. */
function useKin(track: StoredTrack, finished: number): { kin: Kin | null; trouble: unknown } {
  const [kin, setKin] = useState<Kin | null>(null);
  const [trouble, setTrouble] = useState<unknown>(null);
  const password = usePassword((state) => state.password);

  useEffect(
    () => asking({ ask: (signal) => kinOf(track, signal), take: setKin, trouble: setTrouble }),
    // A new title or a like changes nothing in the family.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [track.track_id, finished, password],
  );

  return { kin: kin?.of === track.track_id ? kin : null, trouble: wantsPassword(trouble) ? null : trouble };
}

async function kinOf(track: StoredTrack, signal: AbortSignal): Promise<Kin> {
  const [parent, edits, takes] = await Promise.all([
    track.parent ? storedTrack(track.parent, { signal }).catch(nullIfMissing) : null,
    editsOf(track.track_id, { signal }),
    otherTakesOf(track, { signal }),
  ]);
  return { of: track.track_id, parent, edits, takes };
}

function nullIfMissing(error: unknown): null {
  if (isMissing(error)) return null;
  throw error;
}

function KinList({ name, track, kin }: { name: string; track: StoredTrack; kin: StoredTrack[] }) {
  return (
    <>
      <h3>{name}</h3>
      <ul className="tracks" aria-label={name}>
        {kin.map((each) => (
          <KinRow key={each.track_id} track={track} kin={each} />
        ))}
      </ul>
    </>
  );
}

function KinRow({ track, kin }: { track: StoredTrack; kin: StoredTrack }) {
  const t = useTranslations("track");
  const tasks = useTranslations("tasks");
  const title = titleOf(kin);
  const [older, newer] =
    kin.parent === track.track_id ? [track, kin] : track.parent === kin.track_id ? [kin, track] : [track, kin];
  return (
    <li className="track-row" aria-label={title}>
      <PlayButton sound={playableOf(kin)} />
      <div>
        <Link href={`/track/${kin.track_id}`} prefetch={false}>
          {title}
        </Link>
        <p className="hint">
          {[tasks(kin.task ?? "text"), t("seed", { seed: String(kin.seed) }), clock(kin.duration_seconds)].join(" · ")}
        </p>
      </div>
      <button
        type="button"
        className="small"
        onClick={() => compare(playableOf(older), playableOf(newer), startOf(newer))}
        aria-label={t("compareWith", { title })}
      >
        {t("compare")}
      </button>
    </li>
  );
}

const LEAD_SECONDS = 2;

/** Where a comparison begins: a little before that which an edit changed. */
function startOf({ options }: StoredTrack): number {
  return typeof options.start === "number" ? Math.max(0, options.start - LEAD_SECONDS) : 0;
}
