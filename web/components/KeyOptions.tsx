"use client";

import { useLocale } from "next-intl";
import { keyName } from "@/lib/keyName";
import { KEYS } from "@/lib/settings";

/** The keys to choose from, in the visitor's language. */
export function KeyOptions() {
  const locale = useLocale();
  return KEYS.map((key) => (
    <option key={key} value={key}>
      {keyName(key, locale)}
    </option>
  ));
}
