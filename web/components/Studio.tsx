"use client";

import { useEffect, useRef, useState, type FormEvent, type SyntheticEvent } from "react";
import { answered, isAbort, service, words, type Backend, type GenerateRequest, type Track, type Twin } from "@/lib/client";
import { randomId } from "@/lib/random";
import { bodyOf, START, type Settings } from "@/lib/settings";
import { Notice } from "./Notice";
import { SettingsForm } from "./SettingsForm";
import { Take, type Made } from "./Take";

/** The artist's page. `whole`: all of the service is there, and not just its route that generates. */
export function Studio({ whole }: { whole: boolean }) {
  const [twins, setTwins] = useState<Twin[]>([]);
  const [backends, setBackends] = useState<Backend[]>([]);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [settings, setSettings] = useState<Settings>(START);
  const [takes, setTakes] = useState<Made[]>([]);
  const [inPlace, setInPlace] = useState(true);
  const [news, setNews] = useState("");
  const last = useRef<HTMLAudioElement | null>(null);
  const count = useRef(0);
  const prompt = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    if (!whole) return;
    Promise.all([answered(service.GET("/loras")), answered(service.GET("/backends"))]).then(
      ([listed, served]) => {
        setTwins(listed.loras);
        setBackends(served.backends);
      },
      (error: unknown) => setTrouble(words(error)),
    );
  }, [whole]);

  async function make(event: FormEvent): Promise<void> {
    event.preventDefault();
    const number = ++count.current;
    const leaving = new AbortController();
    const change = (news: Partial<Made>): void =>
      setTakes((all) => all.map((take) => (take.number === number ? { ...take, ...news } : take)));
    const id = randomId();
    setTakes((all) => [{ number, id, settings, leave: () => leaving.abort() }, ...all]);
    try {
      const body = bodyOf(settings);
      change({ track: await (whole ? generate(body, id, leaving.signal) : generatePlainly(settings, leaving.signal)) });
      setNews(`Take ${number} is ready`);
    } catch (error) {
      if (isAbort(error)) setTakes((all) => all.filter((take) => take.number !== number));
      else change({ trouble: words(error) });
    }
  }

  function again(take: Made): void {
    setSettings({ ...take.settings, seed: String(take.track?.seed ?? take.settings.seed) });
    prompt.current?.focus();
  }

  /** One take at a time; the next one goes on where the last one was, so that they can be compared. */
  function onPlay(event: SyntheticEvent): void {
    const player = event.target as HTMLAudioElement;
    if (last.current && last.current !== player) {
      if (inPlace && !last.current.ended && last.current.currentTime < player.duration) {
        player.currentTime = last.current.currentTime;
      }
      last.current.pause();
    }
    last.current = player;
  }

  return (
    <div className="columns">
      <SettingsForm
        settings={settings}
        change={(news) => setSettings((old) => ({ ...old, ...news }))}
        submit={(event) => void make(event)}
        twins={twins}
        backends={backends}
        whole={whole}
        prompt={prompt}
      />
      <section aria-labelledby="takes">
        <h2 id="takes">Takes</h2>
        <Notice>{trouble}</Notice>
        <p role="status" className="unseen">
          {news}
        </p>
        {takes.length > 1 && (
          <label className="check">
            <input type="checkbox" checked={inPlace} onChange={(event) => setInPlace(event.target.checked)} />
            Switch takes in place: the next one goes on where the last one was
          </label>
        )}
        {takes.length === 0 && <p className="hint">Nothing yet. Your takes come here, the newest first.</p>}
        <ol className="takes" onPlayCapture={onPlay}>
          {takes.map((take) => (
            <Take key={take.number} take={take} again={() => again(take)} whole={whole} />
          ))}
        </ol>
      </section>
    </div>
  );
}

async function generate(body: GenerateRequest, id: string, signal: AbortSignal): Promise<Track> {
  const params = { header: { "x-request-id": id } };
  const made = await answered(service.POST("/generate", { params, body: { ...body, response: "url" }, signal }));
  if (typeof made === "string" || !("url" in made)) throw new Error("the service did not answer with a link");
  return made;
}

/** By the one route that every deployment has. */
async function generatePlainly(settings: Settings, signal: AbortSignal): Promise<Track & { src: string }> {
  const answer = await fetch("/api/artist/generate", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      artistId: "artist",
      loraId: settings.twin,
      prompt: settings.prompt,
      durationSeconds: Number(settings.seconds),
      seed: settings.seed === "" ? undefined : Number(settings.seed),
    }),
    signal,
  });
  const made = (await answer.json()) as Partial<Track> & { audio_base64?: string; audioUrl?: string; error?: string };
  if (!answer.ok) throw new Error(made.error ?? `the service answered ${answer.status}`);
  return {
    backend: made.backend ?? "",
    seed: made.seed ?? Number(settings.seed),
    sample_rate: made.sample_rate ?? 0,
    duration_seconds: made.duration_seconds ?? Number(settings.seconds),
    output_path: made.output_path ?? "",
    url: "",
    src: made.audioUrl ?? `data:audio/wav;base64,${made.audio_base64}`,
  };
}
