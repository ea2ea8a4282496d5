"use client";

import { useTranslations } from "next-intl";
import { useId } from "react";
import { changeForm } from "@/lib/making/form";
import type { Settings } from "@/lib/settings";
import { Fault, Select } from "../Form";
import { KeyOptions } from "../KeyOptions";
import { NumberField } from "../NumberField";

/** `twinsBpm` is the tempo that a twin plays at where none is given. */
export function TempoAndKey({ settings, twinsBpm }: { settings: Settings; twinsBpm: number | null }) {
  const t = useTranslations("make");
  const id = useId();
  return (
    <div className="row">
      <NumberField
        label={t("bpm")}
        name="bpm"
        min={30}
        max={300}
        placeholder={String(twinsBpm ?? t("any"))}
        value={settings.bpm}
        change={(bpm) => changeForm({ bpm })}
      />
      <div>
        <label htmlFor={`${id}key`}>{t("key")}</label>
        <Select
          id={`${id}key`}
          name="key"
          value={settings.key}
          onChange={(event) => changeForm({ key: event.target.value })}
        >
          <option value="">{t("anyKey")}</option>
          <KeyOptions />
        </Select>
        <Fault id={`${id}key`} />
      </div>
    </div>
  );
}
