"use client";

import type { Backend, Twin } from "producer-twin";
import { useEffect, useState } from "react";
import { asking } from "./asking";
import { api } from "./client";
import type { Settings } from "./settings";

const NOT_READY_MILLISECONDS = 10_000;

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
    return asking({
      ask: (signal) => Promise.all([api.twins.list({}, { signal }), api.service.backends({ signal })]),
      take: ([twins, backends]) => {
        setServed({ twins, backends });
        return backends.some(({ ready }) => !ready) ? NOT_READY_MILLISECONDS : undefined;
      },
      trouble: setFailure,
    });
  }, [wanted]);

  return { served, failure };
}
