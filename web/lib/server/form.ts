import { Problem } from "./problem";

// What a form has beside its file.
const FORM_BYTES = 64 * 1024;
// The longest silence within one, as the service has it.
const SILENCE_MILLISECONDS = 30_000;
const SILENT = "no more of the file came for 30 s; send it again";

/**
 * The multipart form in the body, refused as soon as it is over `most` bytes of file (413), or nothing more comes of it
 * (408). Throws Problem.
 */
export async function limitedForm(request: Request, most: number, tooLarge: string): Promise<FormData> {
  const kind = request.headers.get("content-type") ?? "";
  if (!kind.toLowerCase().startsWith("multipart/form-data") || !request.body) {
    throw new Problem(400, "content-type: send multipart/form-data with the field `file`");
  }
  const limit = most + FORM_BYTES;
  if (Number(request.headers.get("content-length") ?? 0) > limit) throw new Problem(413, tooLarge);
  let size = 0;
  let refusal: Problem | undefined;
  let silence: ReturnType<typeof setTimeout> | undefined;
  const breakOff = (controller: TransformStreamDefaultController, status: number, sentence: string): void => {
    refusal = new Problem(status, sentence, { connection: "close" }); // the rest of the body is not read
    controller.error(refusal);
  };
  const listen = (controller: TransformStreamDefaultController): void => {
    clearTimeout(silence);
    silence = setTimeout(breakOff, SILENCE_MILLISECONDS, controller, 408, SILENT);
  };
  const counted = request.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      start: listen,
      transform(chunk, controller) {
        listen(controller);
        size += chunk.byteLength;
        if (size > limit) breakOff(controller, 413, tooLarge);
        else controller.enqueue(chunk);
      },
    }),
  );
  try {
    return await new Response(counted, { headers: { "content-type": kind } }).formData();
  } catch {
    throw refusal ?? new Problem(400, "the body is not a valid form");
  } finally {
    clearTimeout(silence);
  }
}
