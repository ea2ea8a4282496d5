"use client";

import type { Backend, Twin } from "producer-twin";
import { useEffect, useState } from "react";
import { api } from "./client";
import type { Settings } from "./settings";

const RETRY_MILLISECONDS = 5000;
const NOT_READY_MILLISECONDS = 10_000;
const PATIENCE_MILLISECONDS = 20_000;

export type Served = { twins: Twin[]; backends: Backend[] };

/** The backend that makes the track of these settings. */
export function servingOf({ parts, backend }: Pick<Settings, "parts" | "backend">, served: Served): Backend | undefined {
  const twin = served.twins.find(({ lora_id }) => lora_id === parts[0]?.id);
  const named = twin?.backend ?? backend;
  return served.backends.find((each) => (named ? each.name === named : each.default));
}

/** The twins and the backends; asked for again until the service answers, and all backends are ready. null while it is not known, or not `wanted`. */
export function useTwins(wanted = true): { served: Served | null; failure: unknown } {
  const [served, setServed] = useState<Served | null>(null);
  const [failure, setFailure] = useState<unknown>(null);

  useEffect(() => {
    if (!wanted) return;
    let gone = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      const signal = AbortSignal.timeout(PATIENCE_MILLISECONDS);
      try {
        const [twins, backends] = await Promise.all([api.twins.list({}, { signal }), api.service.backends({ signal })]);
        if (gone) return;
        setServed({ twins, backends });
        setFailure(null);
        if (backends.some(({ ready }) => !ready)) timer = setTimeout(() => void ask(), NOT_READY_MILLISECONDS);
      } catch (error) {
        if (gone) return;
        setFailure(error);
        timer = setTimeout(() => void ask(), RETRY_MILLISECONDS);
      }
    };
    void ask();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [wanted]);

  return { served, failure };
}
