"use client";

import { useTranslations } from "next-intl";
import { useCallback } from "react";
import { failureOf, sentenceOf } from "./failure";
import { namedField } from "./namedField";

/** Puts an error into words: this app's own in the user's language, the service's with the label of the field that it names. */
export function useWords(): (error: unknown) => string {
  const errors = useTranslations("errors");
  const fields = useTranslations("fields");
  return useCallback(
    (error: unknown): string => {
      const failure = failureOf(error);
      if (failure) return errors(failure.reason, failure.values);
      const sentence = sentenceOf(error);
      const named = namedField(sentence);
      const field = named?.field as Parameters<typeof fields>[0];
      return named && fields.has(field) ? `${fields(field)}: ${named.rest}` : sentence;
    },
    [errors, fields],
  );
}
