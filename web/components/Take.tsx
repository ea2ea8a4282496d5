"use client";

import { useEffect, useState } from "react";
import { answered, here, service, type Track } from "@/lib/client";
import { cast, FORMATS, type Settings } from "@/lib/settings";
import { Notice } from "./Notice";
import { Sound } from "./Sound";

const LOOK_MILLISECONDS = 2000;

/** A track that was asked for: under way, made, or refused. */
export type Made = {
  number: number;
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
      {!track && !take.trouble && <Waiting leave={take.leave} whole={whole} />}
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

function Waiting({ leave, whole }: { leave: () => void; whole: boolean }) {
  const [seconds, setSeconds] = useState(0);
  const [underWay, setUnderWay] = useState<number | null>(null);

  useEffect(() => {
    const timer = setInterval(() => setSeconds((old) => old + 1), 1000);
    return () => clearInterval(timer);
  }, []);

  useEffect(() => {
    if (!whole) return;
    const look = (): void => {
      answered(service.GET("/backends")).then(
        ({ backends }) => setUnderWay(backends.reduce((sum, backend) => sum + backend.under_way, 0)),
        () => setUnderWay(null),
      );
    };
    look();
    const timer = setInterval(look, LOOK_MILLISECONDS);
    return () => clearInterval(timer);
  }, [whole]);

  return (
    <div className="actions">
      <p>
        <span role="status">
          Being made
          {underWay !== null && underWay > 1 && `, one of ${underWay} tracks that are under way; short ones come first`}
        </span>{" "}
        <span aria-hidden="true">for {seconds} s</span>
      </p>
      <button type="button" onClick={leave}>
        Leave
      </button>
    </div>
  );
}
