"use client";

import { useLocale, useTranslations } from "next-intl";
import { failureOf, sentenceOf } from "@/lib/failure";
import { namedField } from "@/lib/namedField";
import { recognised } from "@/lib/serviceSentences";

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
  const failure = failureOf(children);
  if (failure) return errors(failure.reason, failure.values);

  const sentence = sentenceOf(children);
  const known = recognised(sentence);
  if (known) return <>{`${known.before}${service(known.name, known.values as never)}`}</>;
  const named = namedField(sentence);
  const name = named?.field as Parameters<typeof fields>[0];
  if (!named || !fields.has(name)) return <span lang={lang}>{sentence}</span>;
  return (
    <>
      {fields(name)}: <span lang={lang}>{named.rest}</span>
    </>
  );
}
