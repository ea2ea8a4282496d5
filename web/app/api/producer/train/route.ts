import { randomUUID } from "node:crypto";
import { jsonBody, optional, required, requiredTexts } from "@/lib/server/fields";
import { checkPassword, PASSWORD_HEADER, passwordIn } from "@/lib/server/password";
import { answering } from "@/lib/server/problem";
import { startTraining } from "@/lib/server/training";

/** `{producerId, uploadUrls}`, and optionally `modelName`, `jobId`: trains on what lies at the URLs. */
export function POST(request: Request): Promise<Response> {
  return answering(async () => {
    const header = passwordIn(request.headers);
    if (header !== null) await checkPassword(header);
    const fields = await jsonBody(request);
    const password = await checkPassword(header ?? optional(fields, PASSWORD_HEADER) ?? null);
    const producerId = required(fields, "producerId");
    const uploadUrls = requiredTexts(fields, "uploadUrls");
    const jobId = optional(fields, "jobId") ?? randomUUID();
    const job = await startTraining({ producerId, modelName: optional(fields, "modelName"), jobId, uploadUrls }, password);
    return Response.json({ job });
  });
}
