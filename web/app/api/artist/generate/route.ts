import { randomUUID } from "node:crypto";
import { generateAddress, serviceRoot } from "@/lib/server/addresses";
import { jsonBody, optionalNumber, required } from "@/lib/server/fields";
import { answering, Problem } from "@/lib/server/problem";
import { post } from "@/lib/server/upstream";
import { trackId } from "@/lib/trackId";

/**
 * `{artistId, loraId, prompt}`, and optionally `durationSeconds`, `seed`: a track, as the service answers it, and as
 * `{generation: {generationId, audioUrl, audioBase64}}`.
 */
export function POST(request: Request): Promise<Response> {
  return answering(async () => {
    const fields = await jsonBody(request);
    required(fields, "artistId");
    const seconds = optionalNumber(fields, "durationSeconds");
    const seed = optionalNumber(fields, "seed");
    const body = {
      prompt: required(fields, "prompt"),
      lora_id: required(fields, "loraId"),
      ...(seconds === undefined ? {} : { duration_seconds: seconds }),
      ...(seed === undefined ? {} : { seed }),
    };
    try {
      return answer(await post(generateAddress(), body, {}, request.signal));
    } catch (error) {
      // Too long a track for base64 has a link instead, which this app serves.
      if (!(error instanceof Problem && error.status === 413 && serviceRoot())) throw error;
      const made = await post(generateAddress(), { ...body, response: "url" }, {}, request.signal);
      return answer({ ...made, audioUrl: `/api/service${String(made.output_path)}` });
    }
  });
}

function answer(made: Record<string, unknown>): Response {
  const { output_path: path, audio_base64: base64, audioUrl } = made;
  const generation = {
    generationId: typeof path === "string" ? trackId(path) : randomUUID(),
    audioUrl: audioUrl ?? `data:audio/wav;base64,${String(base64)}`,
    audioBase64: base64 ?? null,
  };
  return Response.json({ ...made, generation });
}
