"use client";

import { useTranslations } from "next-intl";
import { useId } from "react";
import type { TrainOptions } from "producer-twin";
import { NumberField } from "../NumberField";

export type Options = {
  profile: NonNullable<TrainOptions["profile"]> | "";
  segmentOn: NonNullable<TrainOptions["segment_on"]> | "";
  tags: boolean;
  steps: string;
};

export const DEFAULTS: Options = { profile: "", segmentOn: "", tags: false, steps: "" };

export function TrainingOptions({ options, set }: { options: Options; set: (news: Partial<Options>) => void }) {
  const t = useTranslations("newTwin");
  const id = useId();
  return (
    <details>
      <summary>{t("options")}</summary>
      <label htmlFor={`${id}profile`}>{t("sound")}</label>
      <select id={`${id}profile`} value={options.profile} onChange={(event) => set({ profile: event.target.value as Options["profile"] })}>
        <option value="">{t("soundDefault")}</option>
        <option value="contract">{t("soundContract")}</option>
        <option value="native">{t("soundNative")}</option>
      </select>
      <label htmlFor={`${id}cuts`}>{t("cuts")}</label>
      <select id={`${id}cuts`} value={options.segmentOn} onChange={(event) => set({ segmentOn: event.target.value as Options["segmentOn"] })}>
        <option value="">{t("cutsDefault")}</option>
        <option value="beat">{t("cutsBeat")}</option>
        <option value="time">{t("cutsTime")}</option>
      </select>
      <label className="check">
        <input type="checkbox" checked={options.tags} onChange={(event) => set({ tags: event.target.checked })} />
        {t("describe")}
      </label>
      <NumberField
        label={t("stepsLabel")}
        min={1}
        max={100000}
        placeholder={t("stepsDefault")}
        value={options.steps}
        change={(steps) => set({ steps })}
      />
    </details>
  );
}
