import type { Figures, GenerateRequest, StoredTrack } from "producer-twin";
import { here, isAbort, refusal } from "../client";
import { Failure, failureOf, sentenceOf, type Reason } from "../failure";

/** A track that was made. `id` is the library's, null for one that is not there. */
export type Made = { id: string | null; src: string; seed: number; seconds: number; figures: Figures | null };

/** An error in a form that can be stored: a sentence of the service, or a reason that this app words. */
export type Trouble = { sentence: string } | { reason: Reason; values: Record<string, string | number> };

export function troubleOf(error: unknown): Trouble {
  const failure = failureOf(error);
  return failure ? { reason: failure.reason, values: failure.values } : { sentence: sentenceOf(error) };
}

/** The error that `troubleOf` had. */
export function errorOf(trouble: Trouble): Error {
  return "reason" in trouble ? new Failure(trouble.reason, trouble.values) : new Error(trouble.sentence);
}

/** Makes a track by the one route that every deployment has. */
export async function generatePlainly(body: GenerateRequest, signal: AbortSignal): Promise<Made[]> {
  const answer = await fetch("/api/artist/generate", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      artistId: "artist",
      loraId: body.lora_id,
      prompt: body.prompt,
      durationSeconds: body.duration_seconds,
      seed: body.seed,
    }),
    signal,
  }).catch((error: unknown) => {
    throw isAbort(error) ? error : new Failure("appAway");
  });
  if (!answer.ok) throw await refusal(answer);
  const made = (await answer.json()) as { seed?: number; duration_seconds?: number; audio_base64?: string; audioUrl?: string };
  return [
    {
      id: null,
      src: made.audioUrl ?? `data:audio/wav;base64,${made.audio_base64}`,
      seed: made.seed ?? body.seed ?? 0,
      seconds: made.duration_seconds ?? body.duration_seconds ?? 0,
      figures: null,
    },
  ];
}

export const madeOf = (track: StoredTrack): Made => ({
  id: track.track_id,
  src: here(track.output_path),
  seed: track.seed,
  seconds: track.duration_seconds,
  figures: track.figures,
});
