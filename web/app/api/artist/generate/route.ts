import { generateAddress, serviceRoot } from "@/lib/server/addresses";
import { jsonBody, optionalNumber, required } from "@/lib/server/fields";
import { answering, Problem } from "@/lib/server/problem";
import { post } from "@/lib/server/upstream";

/** `{artistId, loraId, prompt}`, and optionally `durationSeconds`, `seed`: a track, as `audio_base64` or `audioUrl`. */
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
      return Response.json(await post(generateAddress(), body, {}, request.signal));
    } catch (error) {
      // Too long a track for base64 has a link instead, which this app serves.
      if (!(error instanceof Problem && error.status === 413 && serviceRoot())) throw error;
      const made = await post(generateAddress(), { ...body, response: "url" }, {}, request.signal);
      return Response.json({ ...made, audioUrl: `/api/service${String(made.output_path)}` });
    }
  });
}
