"use client";

import { useId, type FormEvent, type RefObject } from "react";
import type { Backend, Twin } from "@/lib/client";
import { defaultBpm, type Settings } from "@/lib/settings";
import { Fault, Form, Input, TextArea } from "./Form";
import { TempoAndKey } from "./TempoAndKey";

type Props = {
  settings: Settings;
  change: (news: Partial<Settings>) => void;
  submit: (event: FormEvent) => void;
  twins: Twin[];
  backends: Backend[];
  whole: boolean;
  prompt: RefObject<HTMLTextAreaElement | null>;
};

export function SettingsForm({ settings, change, submit, twins, backends, whole, prompt }: Props) {
  const id = useId();
  const chosen = twins.find((twin) => twin.lora_id === settings.twin);
  const serving = backends.find((backend) => (chosen ? backend.name === chosen.backend : backend.default));
  // Twins of different backends cannot sound together.
  const partners = twins.filter((twin) => twin.usable && twin.backend === chosen?.backend && twin !== chosen);
  return (
    <Form onSubmit={submit} className="panel" aria-label="The track">
      <label htmlFor={`${id}prompt`}>Prompt</label>
      <TextArea
        id={`${id}prompt`}
        ref={prompt}
        required
        maxLength={2000}
        rows={3}
        placeholder="808 trap beat, dark synth"
        value={settings.prompt}
        onChange={(event) => change({ prompt: event.target.value })}
      />
      <Fault id={`${id}prompt`} />

      <label htmlFor={`${id}twin`}>Twin</label>
      {whole ? (
        <select
          id={`${id}twin`}
          value={settings.twin}
          onChange={(event) => change({ twin: event.target.value, second: "" })}
        >
          <option value="">No twin: the model as it is</option>
          {twins.map((twin) => (
            <option key={twin.lora_id} value={twin.lora_id} disabled={!twin.usable}>
              {twin.lora_id}
              {twin.usable ? "" : ` (${twin.reason ?? "not usable now"})`}
            </option>
          ))}
        </select>
      ) : (
        <>
          <Input
            id={`${id}twin`}
            required
            placeholder="producer:model"
            value={settings.twin}
            onChange={(event) => change({ twin: event.target.value })}
          />
          <Fault id={`${id}twin`} />
        </>
      )}

      {partners.length > 0 && (
        <>
          <label htmlFor={`${id}second`}>Blend with</label>
          <select id={`${id}second`} value={settings.second} onChange={(event) => change({ second: event.target.value })}>
            <option value="">Nobody</option>
            {partners.map((twin) => (
              <option key={twin.lora_id}>{twin.lora_id}</option>
            ))}
          </select>
        </>
      )}
      {settings.second && (
        <>
          <label htmlFor={`${id}mix`}>
            {settings.twin} {100 - settings.mix} % · {settings.second} {settings.mix} %
          </label>
          <input
            id={`${id}mix`}
            type="range"
            min={5}
            max={95}
            step={5}
            value={settings.mix}
            onChange={(event) => change({ mix: Number(event.target.value) })}
          />
        </>
      )}

      <div className="row">
        <div>
          <label htmlFor={`${id}seconds`}>Length in seconds</label>
          <Input
            id={`${id}seconds`}
            type="number"
            required
            min={1}
            max={serving?.max_duration_seconds}
            step="any"
            value={settings.seconds}
            onChange={(event) => change({ seconds: event.target.value })}
          />
          <Fault id={`${id}seconds`} />
        </div>
        <div>
          <label htmlFor={`${id}seed`}>Seed</label>
          <Input
            id={`${id}seed`}
            type="number"
            min={0}
            max={4294967295}
            placeholder="a new one"
            value={settings.seed}
            onChange={(event) => change({ seed: event.target.value })}
          />
          <Fault id={`${id}seed`} />
        </div>
      </div>

      {whole && (
        <details>
          <summary>Tempo, key, lyrics</summary>
          <TempoAndKey
            bpm={settings.bpm}
            setBpm={(bpm) => change({ bpm })}
            step={1}
            noBpm={String(defaultBpm(settings, twins) ?? "any")}
            tone={settings.key}
            setTone={(key) => change({ key })}
            noTone="Any"
          />
          <label htmlFor={`${id}lyrics`}>Lyrics</label>
          <textarea
            id={`${id}lyrics`}
            rows={4}
            maxLength={8000}
            value={settings.lyrics}
            onChange={(event) => change({ lyrics: event.target.value })}
          />
        </details>
      )}

      <button type="submit" className="primary">
        Make a take
      </button>
      {serving && !serving.commercial_use && (
        <p className="hint">
          {serving.name} ({serving.licence}) is not for commercial use.
        </p>
      )}
      {serving && !serving.ready && (
        <p className="hint">
          {serving.name} cannot serve now: {serving.reason}
        </p>
      )}
    </Form>
  );
}
