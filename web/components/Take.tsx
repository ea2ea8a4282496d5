"use client";

import { useEffect, useState } from "react";
import { here, type Place, type Track } from "@/lib/client";
import { cast, FORMATS, type Settings } from "@/lib/settings";
import { usePlace } from "@/lib/usePlace";
import { Notice } from "./Notice";
import { Sound } from "./Sound";

/** A track that was asked for: under way, made, or refused. `id` is the request's. */
export type Made = {
  number: number;
  id: string;
  settings: Settings;
  leave: () => void;
  track?: Track & { src?: string | undefined };
  trouble?: string;
};

export function Take({ take, again, whole }: { take: Made; again: () => void; whole: boolean }) {
  const { settings, track } = take;
  const src = track && (track.src ?? here(track.output_path));
  const name = `Take ${take.number}`;
  return (
    <li className="panel take" aria-label={name}>
      <h3>
        {name} <span className="hint">{cast(settings)}</span>
      </h3>
      <p className="prompt">{settings.prompt}</p>
      {!track && !take.trouble && <Waiting name={name} id={whole ? take.id : null} leave={take.leave} />}
      <Notice>{take.trouble ?? null}</Notice>
      {track && src && (
        <>
          <Sound src={src} label={name} />
          <p className="hint">
            Seed {track.seed} · {track.duration_seconds.toFixed(1)} s · {track.backend}
          </p>
          <div className="actions">
            <button type="button" onClick={again}>
              Same seed again
            </button>
            {whole && !track.src ? (
              FORMATS.map((format) => (
                <a key={format} className="button" href={download(src, format)} download>
                  {format.toUpperCase()}
                </a>
              ))
            ) : (
              <a className="button" href={src} download={`take-${take.number}.wav`}>
                WAV
              </a>
            )}
          </div>
        </>
      )}
    </li>
  );
}

/** WAV is what was stored; the others are made of it. */
function download(src: string, format: (typeof FORMATS)[number]): string {
  return src.endsWith(`.${format}`) ? src : `${src}?format=${format}`;
}

function Waiting({ name, id, leave }: { name: string; id: string | null; leave: () => void }) {
  const [seconds, setSeconds] = useState(0);
  const place = usePlace(id);
  const done = Math.round(100 * (place?.progress ?? 0));
  const left = place?.seconds_left;

  useEffect(() => {
    const timer = setInterval(() => setSeconds((old) => old + 1), 1000);
    return () => clearInterval(timer);
  }, []);

  return (
    <div className="actions">
      <p>
        <span role="status">{stand(place)}</span>
        {done > 0 && `, ${done} %`}
        {typeof left === "number" ? `, about ${Math.max(1, Math.round(left))} s left` : <span aria-hidden="true"> for {seconds} s</span>}
      </p>
      {done > 0 && <progress aria-label={`How much of ${name} is made`} max={100} value={done} />}
      <button type="button" onClick={leave}>
        Leave
      </button>
    </div>
  );
}

/** Where a track stands, in words that change seldom: they are read out. */
function stand(place: Place | null): string {
  if (place === null) return "Under way";
  if (place.state === "finishing") return "Almost there";
  if (place.state !== "waiting" || place.ahead === null) return "Being made";
  if (place.ahead === 0) return "Next in line";
  return place.ahead === 1 ? "1 track ahead of yours" : `${place.ahead} tracks ahead of yours`;
}
