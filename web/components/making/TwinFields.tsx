"use client";

import { useTranslations } from "next-intl";
import { useId } from "react";
import type { Twin } from "producer-twin";
import { changeForm } from "@/lib/making/form";
import { MAX_TWINS, percentsOf, type Part } from "@/lib/settings";
import { Fault, Select } from "../Form";
import { VersionSelect } from "./VersionSelect";

const WHOLE = 100;
const HALF = 50;

/** The twin, or the twins of a blend with their shares, and their versions. */
export function TwinFields({ parts, twins }: { parts: Part[]; twins: Twin[] }) {
  const t = useTranslations("make");
  const id = useId();
  const [first] = parts;
  const chosen = twins.find((twin) => twin.lora_id === first?.id);
  // Twins of different backends cannot sound together.
  const partners = twins.filter(
    (twin) => twin.usable && twin.backend === chosen?.backend && !parts.some((part) => part.id === twin.lora_id),
  );
  const percents = percentsOf(parts.map((part) => part.share));
  const blended = parts.length > 1;

  function change(index: number, news: Partial<Part>): void {
    changeForm({ parts: parts.map((part, each) => (each === index ? { ...part, ...news } : part)) });
  }

  function add(name: string): void {
    const rest = blended ? parts : parts.map((part) => ({ ...part, share: HALF }));
    changeForm({ parts: [...rest, { id: name, version: "", share: HALF }] });
  }

  return (
    <>
      <label htmlFor={`${id}twin`}>{t("twin")}</label>
      <Select
        id={`${id}twin`}
        name={blended ? "loras" : "lora_id"}
        value={first?.id ?? ""}
        onChange={(event) =>
          changeForm({ parts: event.target.value ? [{ id: event.target.value, version: "", share: WHOLE }] : [] })
        }
      >
        <option value="">{t("noTwin")}</option>
        {first && !chosen && <option value={first.id}>{first.id}</option>}
        {twins.map((twin) => (
          <option key={twin.lora_id} value={twin.lora_id} disabled={!twin.usable}>
            {twin.usable ? twin.lora_id : t("twinUnusable", { twin: twin.lora_id, reason: twin.reason ?? t("notNow") })}
          </option>
        ))}
      </Select>
      <Fault id={`${id}twin`} />
      {!blended && first && <VersionSelect part={first} change={(version) => change(0, { version })} />}
      {blended && (
        <ul className="blend" aria-label={t("blend")}>
          {parts.map((part, index) => (
            <li key={part.id}>
              <label htmlFor={`${id}${part.id}`}>{t("share", { twin: part.id, percent: percents[index] ?? 0 })}</label>
              <input
                id={`${id}${part.id}`}
                type="range"
                min={5}
                max={WHOLE}
                step={5}
                value={part.share}
                onChange={(event) => change(index, { share: Number(event.target.value) })}
              />
              {index > 0 && (
                <button
                  type="button"
                  className="plain"
                  onClick={() => changeForm({ parts: parts.filter((each) => each !== part) })}
                  aria-label={t("unblend", { twin: part.id })}
                >
                  ×
                </button>
              )}
              <VersionSelect part={part} change={(version) => change(index, { version })} />
            </li>
          ))}
        </ul>
      )}
      {partners.length > 0 && parts.length < MAX_TWINS && (
        <>
          <label htmlFor={`${id}add`}>{t("blendWith")}</label>
          <select id={`${id}add`} value="" onChange={(event) => add(event.target.value)}>
            <option value="">{t("nobody")}</option>
            {partners.map((twin) => (
              <option key={twin.lora_id}>{twin.lora_id}</option>
            ))}
          </select>
        </>
      )}
    </>
  );
}
