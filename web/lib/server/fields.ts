import { Problem } from "./problem";

type Fields = Record<string, unknown>;

/** The JSON object in the body. Throws Problem (400). */
export async function jsonBody(request: Request): Promise<Fields> {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    throw new Problem(400, "the body is not valid JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Problem(400, "the body must be a JSON object");
  }
  return body as Fields;
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
