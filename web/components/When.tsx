"use client";

import { useLocale } from "next-intl";
import { useSyncExternalStore } from "react";
import { localTime } from "@/lib/time";

const never = () => () => undefined;

/** A time in the browser's time zone, which the server that makes the page does not know. */
export function When({ at, long = false }: { at: string; long?: boolean }) {
  const locale = useLocale();
  const isThere = useSyncExternalStore(never, () => true, () => false);
  return <time dateTime={at}>{isThere && localTime(at, locale, long ? "long" : "medium")}</time>;
}
