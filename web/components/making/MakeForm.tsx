"use client";

import { useTranslations } from "next-intl";
import { useId, type ComponentProps, type FormEvent, type RefObject } from "react";
import { changeForm } from "@/lib/making/form";
import { defaultBpm, MAX_TAKES, type Settings } from "@/lib/settings";
import { servingOf, type Served } from "@/lib/useTwins";
import { Fault, Form, Input, TextArea } from "../Form";
import { NumberField, SeedField } from "../NumberField";
import { LyricsField } from "./LyricsField";
import { SamplingFields } from "./SamplingFields";
import { TempoAndKey } from "./TempoAndKey";
import { TwinFields } from "./TwinFields";

type Props = {
  settings: Settings;
  served: Served;
  whole: boolean;
  prompt: RefObject<HTMLTextAreaElement | null>;
  make: () => void;
  makePair: () => void;
  refused: ComponentProps<typeof Form>["refused"];
};

export function MakeForm({ settings, served: { twins, backends }, whole, prompt, make, makePair, refused = null }: Props) {
  const t = useTranslations("make");
  const id = useId();
  const [first] = settings.parts;
  const serving = servingOf(settings, { twins, backends });

  function submit(event: FormEvent): void {
    event.preventDefault();
    const { submitter } = event.nativeEvent as SubmitEvent;
    if (submitter?.getAttribute("value") === "pair") makePair();
    else make();
  }

  return (
    <Form onSubmit={submit} className="panel" aria-label={t("form")} refused={refused}>
      <label htmlFor={`${id}prompt`}>{t("prompt")}</label>
      <TextArea
        id={`${id}prompt`}
        name="prompt"
        ref={prompt}
        required
        maxLength={2000}
        rows={3}
        placeholder={t("promptExample")}
        value={settings.prompt}
        onChange={(event) => changeForm({ prompt: event.target.value })}
      />
      <Fault id={`${id}prompt`} />

      {whole ? (
        <TwinFields parts={settings.parts} twins={twins} />
      ) : (
        <>
          <label htmlFor={`${id}twin`}>{t("twin")}</label>
          <Input
            id={`${id}twin`}
            name="lora_id"
            required
            placeholder="producer:model"
            value={first?.id ?? ""}
            onChange={(event) => changeForm({ parts: [{ id: event.target.value, version: "", share: 100 }] })}
          />
          <Fault id={`${id}twin`} />
        </>
      )}

      <div className="row">
        <NumberField
          label={t("seconds")}
          name="duration_seconds"
          required
          min={1}
          max={serving?.max_duration_seconds}
          step="any"
          value={settings.seconds}
          change={(seconds) => changeForm({ seconds })}
        />
        {whole && (
          <NumberField
            label={t("takes")}
            name="takes"
            required
            min={1}
            max={MAX_TAKES}
            value={settings.takes}
            change={(takes) => changeForm({ takes })}
          />
        )}
        <SeedField label={t("seed")} none={t("newSeed")} value={settings.seed} change={(seed) => changeForm({ seed })} />
      </div>

      {whole && (
        <>
          <details>
            <summary>{t("music")}</summary>
            <TempoAndKey settings={settings} twinsBpm={defaultBpm(settings.parts, twins)} />
            <LyricsField value={settings.lyrics} />
          </details>
          <details>
            <summary>{t("sampling")}</summary>
            <SamplingFields settings={settings} backends={backends} serving={serving} />
          </details>
        </>
      )}

      <button type="submit" className="primary">
        {t("make", { count: Number(settings.takes) || 1 })}
      </button>
      {whole && first && (
        <button type="submit" className="wide" value="pair">
          {t("makePair")}
        </button>
      )}
      {serving && !serving.commercial_use && (
        <p className="hint">{t("notCommercial", { model: serving.name, licence: serving.licence })}</p>
      )}
      {serving && !serving.ready && (
        <p className="hint">{t("notReady", { model: serving.name, reason: serving.reason ?? "" })}</p>
      )}
    </Form>
  );
}
