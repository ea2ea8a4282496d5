"use client";

import { useTranslations } from "next-intl";
import { useId, useState, type ComponentProps, type FormEvent } from "react";
import type { StoredTrack } from "producer-twin";
import { bodyOfEdit, editOf, EDITS, type EditSettings } from "@/lib/editing";
import { ask } from "@/lib/making/requests";
import { useRefusal } from "@/lib/making/useRefusal";
import { useTwins } from "@/lib/useTwins";
import { Fault, Form, Input, Select, TextArea } from "../Form";
import { Notice } from "../Notice";
import { NumberField, SeedField } from "../NumberField";
import { RegionFields } from "./RegionFields";
import "./editing.css";

/** Makes a part of a track anew, makes it longer, or covers it. The result is another track. */
export function EditPanel({ track }: { track: StoredTrack }) {
  const t = useTranslations("edit");
  const making = useTranslations("make");
  const id = useId();
  const { served, failure } = useTwins();
  const [settings, setSettings] = useState<EditSettings>(() => editOf(track));
  const [asked, setAsked] = useState<string | null>(null);
  const refused = useRefusal(asked);
  const { twins = [], backends = [] } = served ?? {};
  const backendOf = (name: string): string => twins.find(({ lora_id }) => lora_id === name)?.backend ?? track.backend;
  const backend = backends.find(({ name }) => name === backendOf(settings.twin));
  const tasks = backend?.tasks ?? [];
  const possible = EDITS.filter((task) => tasks.includes(task));
  const task = possible.includes(settings.task) ? settings.task : possible[0];

  function change(news: Partial<EditSettings>): void {
    setSettings((old) => ({ ...old, ...news }));
  }

  function submit(event: FormEvent): void {
    event.preventDefault();
    if (task) setAsked(ask(bodyOfEdit(track, { ...settings, task }), { parent: track.track_id }));
  }

  return (
    <section aria-labelledby={`${id}title`}>
      <h2 id={`${id}title`}>{t("title")}</h2>
      <Notice>{failure}</Notice>
      {served && !task && (
        <p className="hint">
          {backend?.ready === false
            ? making("notReady", { model: backend.name, reason: backend.reason ?? "" })
            : t("impossible", { model: backendOf(settings.twin) })}
        </p>
      )}
      {task && (
        <Form className="panel" aria-label={t("title")} onSubmit={submit} refused={refused}>
          <fieldset className="choices">
            <legend>{t("task")}</legend>
            {possible.map((each) => (
              <label key={each}>
                <input type="radio" name={`${id}task`} checked={each === task} onChange={() => change({ task: each })} />
                {t(each)}
              </label>
            ))}
          </fieldset>
          <p className="hint">{t(`${task}Rule`)}</p>
          {task === "repaint" && <RegionFields track={track} start={settings.start} end={settings.end} change={change} />}
          {task === "extend" && (
            <div className="row">
              <Seconds
                name="before"
                label={t("before")}
                value={settings.before}
                change={(before) => change({ before })}
                required={settings.after === ""}
              />
              <Seconds
                name="after"
                label={t("after")}
                value={settings.after}
                change={(after) => change({ after })}
                required={settings.before === ""}
              />
            </div>
          )}
          {task === "cover" && (
            <>
              <label htmlFor={`${id}strength`}>{t("strength", { percent: Math.round(100 * settings.strength) })}</label>
              <Input
                id={`${id}strength`}
                name="strength"
                type="range"
                min={0}
                max={1}
                step={0.05}
                value={settings.strength}
                onChange={(event) => change({ strength: Number(event.target.value) })}
              />
              <Fault id={`${id}strength`} />
            </>
          )}
          <label htmlFor={`${id}prompt`}>{t("prompt")}</label>
          <TextArea
            id={`${id}prompt`}
            name="prompt"
            required
            maxLength={2000}
            rows={2}
            value={settings.prompt}
            onChange={(event) => change({ prompt: event.target.value })}
          />
          <Fault id={`${id}prompt`} />
          <div className="row">
            <div>
              <label htmlFor={`${id}twin`}>{t("twin")}</label>
              <Select
                id={`${id}twin`}
                name="lora_id"
                value={settings.twin}
                onChange={(event) => change({ twin: event.target.value })}
              >
                <option value="">{t("noTwin")}</option>
                {settings.twin && !twins.some(({ lora_id }) => lora_id === settings.twin) && (
                  <option>{settings.twin}</option>
                )}
                {twins.map(({ lora_id, usable }) => (
                  <option key={lora_id} disabled={!usable}>
                    {lora_id}
                  </option>
                ))}
              </Select>
              <Fault id={`${id}twin`} />
            </div>
            <SeedField label={t("seed")} none={t("newSeed")} value={settings.seed} change={(seed) => change({ seed })} />
          </div>
          <button type="submit" className="primary">
            {t(`${task}Now`)}
          </button>
        </Form>
      )}
    </section>
  );
}

type SecondsProps = Pick<ComponentProps<typeof NumberField>, "name" | "label" | "value" | "change" | "required">;

const Seconds = (props: SecondsProps) => <NumberField min={0.1} max={600} step={0.1} {...props} />;
