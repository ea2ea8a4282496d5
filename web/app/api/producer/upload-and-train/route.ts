import { randomUUID } from "node:crypto";
import { storeUploadAddress } from "@/lib/server/addresses";
import { optional, required } from "@/lib/server/fields";
import { limitedForm } from "@/lib/server/form";
import { checkPassword, PASSWORD_HEADER, passwordIn } from "@/lib/server/password";
import { answering, Problem } from "@/lib/server/problem";
import { startTraining } from "@/lib/server/training";
import { post } from "@/lib/server/upstream";

const MOST_BYTES = 50 * 1024 * 1024;
const TOO_LARGE = "file: it is over 50 MB; send a shorter or compressed one, or use the producer page";

/** A form with `file` and `producerId`, and optionally `modelName`, `jobId`: stores the file and trains on it. */
export function POST(request: Request): Promise<Response> {
  return answering(async () => {
    const header = passwordIn(request.headers);
    // With a wrong header nothing of the body is read; without one the form may have it.
    if (header !== null) await checkPassword(header);
    const form = await limitedForm(request, MOST_BYTES, TOO_LARGE);
    const fields = Object.fromEntries([...form].filter(([, value]) => typeof value === "string"));
    const password = await checkPassword(header ?? optional(fields, PASSWORD_HEADER) ?? null);
    const producerId = required(fields, "producerId");
    const file = form.get("file");
    if (!(file instanceof File) || file.size === 0) throw new Problem(400, "file: it is missing or empty; send it");
    if (file.size > MOST_BYTES) throw new Problem(413, TOO_LARGE);
    const jobId = optional(fields, "jobId") ?? randomUUID();
    const stored = await post(
      storeUploadAddress(),
      {
        producer_id: producerId,
        job_id: jobId,
        ...(file.name ? { filename: file.name } : {}),
        content_base64: Buffer.from(await file.arrayBuffer()).toString("base64"),
      },
      password,
    );
    if (typeof stored.path !== "string") throw new Problem(502, "the music service did not say where the file is");
    const modelName = optional(fields, "modelName");
    const job = await startTraining({ producerId, modelName, jobId, uploadPaths: [stored.path] }, password);
    return Response.json({ job });
  });
}
