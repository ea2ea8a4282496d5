"use client";

import { useTranslations } from "next-intl";
import { useId } from "react";
import type { Backend } from "producer-twin";
import { changeForm } from "@/lib/making/form";
import type { Rank, Settings } from "@/lib/settings";
import { Fault, Input, Select } from "../Form";
import { NumberField } from "../NumberField";

type Props = { settings: Settings; backends: Backend[]; serving: Backend | undefined };

/** How strongly the twin works, the order of the takes, and what belongs to the model. */
export function SamplingFields({ settings, backends, serving }: Props) {
  const t = useTranslations("make");
  const id = useId();
  const hasTwin = settings.parts.length > 0;
  return (
    <>
      <div className="row">
        {hasTwin && (
          <NumberField
            label={t("strength")}
            name="lora_scale"
            min={0}
            max={2}
            step={0.05}
            placeholder={t("recommended")}
            value={settings.strength}
            change={(strength) => changeForm({ strength })}
          />
        )}
        <NumberField
          label={t("steps")}
          name="steps"
          min={1}
          max={200}
          placeholder={t("modelsOwn")}
          value={settings.steps}
          change={(steps) => changeForm({ steps })}
        />
        <NumberField
          label={t("guidance")}
          name="guidance"
          min={0}
          max={20}
          step={0.1}
          placeholder={t("modelsOwn")}
          value={settings.guidance}
          change={(guidance) => changeForm({ guidance })}
        />
      </div>
      <div className="row">
        {Number(settings.takes) > 1 && (
          <div>
            <label htmlFor={`${id}rank`}>{t("rank")}</label>
            <Select
              id={`${id}rank`}
              name="rank"
              value={settings.rank}
              onChange={(event) => changeForm({ rank: event.target.value as Rank })}
            >
              <option value="">{t("rankAuto")}</option>
              <option value="tempo">{t("rankTempo")}</option>
              <option value="key">{t("rankKey")}</option>
              {hasTwin && <option value="twin">{t("rankTwin")}</option>}
            </Select>
            <Fault id={`${id}rank`} />
          </div>
        )}
        {!hasTwin && (
          <div>
            <label htmlFor={`${id}backend`}>{t("model")}</label>
            <Select
              id={`${id}backend`}
              name="backend_override"
              value={settings.backend}
              onChange={(event) => changeForm({ backend: event.target.value })}
            >
              <option value="">{t("defaultModel")}</option>
              {backends.map(({ name }) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
            <Fault id={`${id}backend`} />
          </div>
        )}
      </div>
      {(serving?.takes_reference || settings.reference) && (
        <>
          <label htmlFor={`${id}reference`}>{t("reference")}</label>
          <Input
            id={`${id}reference`}
            name="reference"
            placeholder={t("noReference")}
            aria-describedby={`${id}timbre`}
            value={settings.reference}
            onChange={(event) => changeForm({ reference: event.target.value.trim() })}
          />
          <Fault id={`${id}reference`} />
          <p id={`${id}timbre`} className="hint">
            {t("referenceRule")}
          </p>
        </>
      )}
    </>
  );
}
