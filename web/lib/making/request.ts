import { answered, isAbort, refusal, service, words, type Figures, type GenerateRequest, type LibraryTrack } from "../client";
import { here } from "../client";
import { Failure, type Reason } from "../failure";
import { trackId } from "../trackId";

/** A track that was made. `id` is the library's, null for one that is not there. */
export type Made = { id: string | null; src: string; seed: number; seconds: number; figures: Figures | null };

/** An error in a form that can be stored: a sentence of the service, or a reason that this app words. */
export type Trouble = { sentence: string } | { reason: Reason; values: Record<string, string | number> };

export function troubleOf(error: unknown): Trouble {
  return error instanceof Failure ? { reason: error.reason, values: error.values } : { sentence: words(error) };
}

/** Makes the tracks of a request. Throws an Error. */
export async function generate(body: GenerateRequest, id: string, signal: AbortSignal): Promise<Made[]> {
  const params = { header: { "x-request-id": id } };
  const made = await answered(service.POST("/generate", { params, body: { ...body, response: "url" }, signal }));
  if (typeof made === "string" || !("takes" in made || "url" in made)) throw new Failure("noLink");
  const takes = "takes" in made ? made.takes : [made];
  return takes.map(({ output_path, seed, figures }) => ({
    id: trackId(output_path),
    src: here(output_path),
    seed,
    seconds: made.duration_seconds,
    figures: figures ?? null,
  }));
}

/** By the one route that every deployment has. */
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
  const said: unknown = await answer.json().catch(() => null);
  if (!answer.ok || said === null) throw refusal(said, answer);
  const made = said as { seed?: number; duration_seconds?: number; audio_base64?: string; audioUrl?: string };
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

export const madeOf = (track: LibraryTrack): Made => ({
  id: track.track_id,
  src: here(track.output_path),
  seed: track.seed,
  seconds: track.duration_seconds,
  figures: null,
});
