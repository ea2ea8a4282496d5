"use client";

import { useTranslations } from "next-intl";
import type { TrackRequest } from "@/lib/making/requests";
import type { LabelledTake } from "./TakeItem";

/** The takes of requests, with what each is called here and in the player. */
export function useTakes(requests: TrackRequest[]): LabelledTake[] {
  const t = useTranslations("make");
  const pair = requests.length > 1;
  return requests.flatMap((request, part) =>
    request.made.map((made, index) => {
      const number = t("take", { number: index + 1 });
      const side = t(part === 0 ? "withTwin" : "withoutTwin");
      const label = !pair ? number : request.made.length > 1 ? `${side}, ${number}` : side;
      return {
        request,
        made,
        label,
        best: index === 0 && request.made.length > 1 && Boolean(request.body.rank) && request.body.rank !== "none",
        sound: {
          id: made.id ?? request.id,
          title: `${label}: ${request.body.prompt}`,
          src: made.src,
          seconds: made.seconds,
          zero: request.body.before ?? 0,
          format: made.id === null ? null : (request.body.output_format ?? "wav"),
        },
      };
    }),
  );
}
