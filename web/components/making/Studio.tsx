"use client";

import { useLocale, useTranslations } from "next-intl";
import { newId, type GenerateRequest } from "producer-twin";
import { useRef, useState } from "react";
import { keyName } from "@/lib/keyName";
import { changeForm, useForm } from "@/lib/making/form";
import { PRESETS } from "@/lib/making/presets";
import { ask, randomSeed, useRequests, type TrackRequest } from "@/lib/making/requests";
import { useRefusal } from "@/lib/making/useRefusal";
import { playsOpus } from "@/lib/player/sound";
import { bodyOf, defaultRank, withoutTwins, type Settings } from "@/lib/settings";
import { servingOf, useTwins } from "@/lib/useTwins";
import { Notice } from "../Notice";
import { PasswordForm } from "../PasswordForm";
import { MakeForm } from "./MakeForm";
import { RequestCard } from "./RequestCard";
import "./making.css";

const NOTHING_SERVED = { twins: [], backends: [] };

/** The artist's page. `whole`: all of the service is there, and not just its route that generates. */
export function Studio({ whole }: { whole: boolean }) {
  const t = useTranslations("make");
  const locale = useLocale();
  const { settings } = useForm();
  const { requests } = useRequests();
  const { served, failure } = useTwins(whole);
  const prompt = useRef<HTMLTextAreaElement>(null);
  const [asked, setAsked] = useState<string | null>(null);
  const refused = useRefusal(asked);
  const { twins } = served ?? NOTHING_SERVED;
  const cards = grouped(requests.filter(({ parent }) => parent === null));

  const ranked = (): Settings => ({ ...settings, rank: settings.rank || defaultRank(settings, twins) });

  const body = (): GenerateRequest => {
    const asked = bodyOf(ranked());
    const serving = servingOf(settings, served ?? NOTHING_SERVED);
    return serving?.streams && !asked.takes && playsOpus() ? { ...asked, stream: true } : asked;
  };

  /** The same request and seed, with the twin and without it. */
  function makePair(): void {
    const pair = newId();
    const asked = { ...body(), seed: settings.seed === "" ? randomSeed() : Number(settings.seed) };
    ask(withoutTwins(asked, twins.find(({ lora_id }) => lora_id === settings.parts[0]?.id)?.backend), { pair });
    setAsked(ask(asked, { pair }));
  }

  function begin(preset: Partial<Settings>): void {
    changeForm(preset);
    prompt.current?.focus();
  }

  return (
    <div className="columns">
      <MakeForm
        settings={settings}
        served={served ?? NOTHING_SERVED}
        whole={whole}
        prompt={prompt}
        make={() => setAsked(ask(body(), { plain: !whole }))}
        refused={refused}
        makePair={makePair}
      />
      <section aria-labelledby="takes">
        <h2 id="takes">{t("made")}</h2>
        <Notice>{failure}</Notice>
        <PasswordForm />
        {cards.length === 0 && (
          <>
            <p className="hint">{t("empty")}</p>
            <ul className="presets">
              {PRESETS.map((preset) => (
                <li key={preset.prompt}>
                  <button type="button" onClick={() => begin(preset)}>
                    {preset.prompt}
                    <span className="hint">{t("presetMusic", { bpm: preset.bpm, key: keyName(preset.key, locale) })}</span>
                  </button>
                </li>
              ))}
            </ul>
          </>
        )}
        <ol className="cards">
          {cards.map((card) => (
            <RequestCard key={card[0].pair ?? card[0].id} requests={card} refill={() => prompt.current?.focus()} />
          ))}
        </ol>
      </section>
    </div>
  );
}

/** The requests of a pair together, that with the twin first. */
function grouped(requests: TrackRequest[]): [TrackRequest, ...TrackRequest[]][] {
  const cards = new Map<string, [TrackRequest, ...TrackRequest[]]>();
  for (const request of requests) {
    const key = request.pair ?? request.id;
    const card = cards.get(key);
    if (card) card.push(request);
    else cards.set(key, [request]);
  }
  return [...cards.values()];
}
