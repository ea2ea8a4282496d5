"use client";

import { useTranslations } from "next-intl";
import { useCallback } from "react";
import { Failure } from "./failure";

const FIELD = /^([a-z_]+)(?:\[\d+\]|\.[\w.]+)?: (.+)$/s; // as the service's sentences begin that are about a field

/** Puts an error into words: this app's own in the user's language, the service's with the label of the field that it names. */
export function useWords(): (error: unknown) => string {
  const errors = useTranslations("errors");
  const fields = useTranslations("fields");
  return useCallback(
    (error: unknown): string => {
      if (error instanceof Failure) return errors(error.reason, error.values);
      const sentence = error instanceof Error ? error.message : String(error);
      const [, field, rest] = FIELD.exec(sentence) ?? [];
      const name = field as Parameters<typeof fields>[0];
      return field && fields.has(name) ? `${fields(name)}: ${rest}` : sentence;
    },
    [errors, fields],
  );
}
