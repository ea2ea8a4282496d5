"use client";

import { useMemo } from "react";
import { namedField } from "../namedField";
import { useRequests } from "./requests";

/** What the service refused of a field, by the field's name in the request; null if it took the request, or names none. */
export function useRefusal(id: string | null): ReturnType<typeof namedField> {
  const sentence = useRequests(({ requests }) => {
    const trouble = requests.find((each) => each.id === id && each.state === "failed" && each.trackId === null)?.trouble;
    return trouble && "sentence" in trouble ? trouble.sentence : null;
  });
  return useMemo(() => (sentence === null ? null : namedField(sentence)), [sentence]);
}
