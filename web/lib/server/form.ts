import { Problem } from "./problem";

// What a form has beside its file.
const FORM_BYTES = 64 * 1024;

/** The multipart form in the body, refused (413) as soon as it is over `most` bytes of file. Throws Problem. */
export async function limitedForm(request: Request, most: number, tooLarge: string): Promise<FormData> {
  const kind = request.headers.get("content-type") ?? "";
  if (!kind.toLowerCase().startsWith("multipart/form-data") || !request.body) {
    throw new Problem(400, "content-type: send multipart/form-data with the field `file`");
  }
  const limit = most + FORM_BYTES;
  if (Number(request.headers.get("content-length") ?? 0) > limit) throw new Problem(413, tooLarge);
  let size = 0;
  let exceeded = false;
  const counted = request.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        size += chunk.byteLength;
        exceeded = size > limit;
        if (exceeded) controller.error(new Error("too large"));
        else controller.enqueue(chunk);
      },
    }),
  );
  try {
    return await new Response(counted, { headers: { "content-type": kind } }).formData();
  } catch {
    if (exceeded) throw new Problem(413, tooLarge, { connection: "close" }); // the rest of the body is not read
    throw new Problem(400, "the body is not a valid form");
  }
}
