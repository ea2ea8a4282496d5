"use client";

import { useLocale, useTranslations } from "next-intl";
import { Failure } from "@/lib/failure";
import { recognised } from "@/lib/serviceSentences";

const FIELD = /^([a-z_]+)(?:\[\d+\]|\.[\w.]+)?: (.+)$/s; // as the service's sentences begin that are about a field
const SERVICE_LANGUAGE = "en";

/**
 * What was said: words of this app, or an error. Of the service's own sentences the frequent ones are in the user's
 * language; the others are marked as English, after the label of the field that they name.
 */
export function Said({ children }: { children: unknown }) {
  const errors = useTranslations("errors");
  const fields = useTranslations("fields");
  const service = useTranslations("service");
  const lang = useLocale() === SERVICE_LANGUAGE ? undefined : SERVICE_LANGUAGE;
  if (children === null || children === undefined || typeof children === "string") return children;
  if (children instanceof Failure) return errors(children.reason, children.values);

  const sentence = children instanceof Error ? children.message : String(children);
  const known = recognised(sentence);
  if (known) return <>{`${known.before}${service(known.name, known.values as never)}`}</>;
  const [, field, rest] = FIELD.exec(sentence) ?? [];
  const name = field as Parameters<typeof fields>[0];
  if (!field || !fields.has(name)) return <span lang={lang}>{sentence}</span>;
  return (
    <>
      {fields(name)}: <span lang={lang}>{rest}</span>
    </>
  );
}
