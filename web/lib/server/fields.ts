import { Problem } from "./problem";

type Fields = Record<string, unknown>;

const MAX_BODY_BYTES = 1024 * 1024;

/** The JSON object in the body. Throws Problem (400, 413). */
export async function jsonBody(request: Request): Promise<Fields> {
  let body: unknown;
  try {
    body = JSON.parse(await text(request));
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(400, "the body is not valid JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Problem(400, "the body must be a JSON object");
  }
  return body as Fields;
}

/** The body, of which no more than the limit is held in memory. */
async function text(request: Request): Promise<string> {
  if (!request.body) return "";
  const parts: Uint8Array[] = [];
  let size = 0;
  // The DOM's type of a stream lacks the iterator that Node's has.
  for await (const part of request.body as unknown as AsyncIterable<Uint8Array>) {
    size += part.byteLength;
    // The rest of the body is not read.
    if (size > MAX_BODY_BYTES) throw new Problem(413, "the body is over 1 MB; send less", { connection: "close" });
    parts.push(part);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts));
}

/** A text that must be there. Throws Problem (400), naming the field. */
export function required(fields: Fields, name: string): string {
  const value = optional(fields, name);
  if (value === undefined) throw new Problem(400, `${name}: it is missing; send it`);
  return value;
}

/** A text that may be left out, or be null or blank. */
export function optional(fields: Fields, name: string): string | undefined {
  const value = fields[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw new Problem(400, `${name}: it must be text`);
  return value.trim() ? value : undefined;
}

export function optionalNumber(fields: Fields, name: string): number | undefined {
  const value = fields[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Problem(400, `${name}: it must be a number`);
  return value;
}

/** One or more texts. */
export function requiredTexts(fields: Fields, name: string): string[] {
  const value = fields[name] ?? undefined;
  if (value === undefined) throw new Problem(400, `${name}: it is missing; send it`);
  if (!Array.isArray(value) || value.length === 0 || !value.every((item) => typeof item === "string" && item.trim())) {
    throw new Problem(400, `${name}: it must be a list of one URL or more`);
  }
  return value as string[];
}
