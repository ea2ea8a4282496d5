const FIELD = /^([a-z_]+)(?:\[\d+\]|\.[\w.]+)?: (.+)$/s;

/** The field that a sentence of the service is about, and what it says of it; null where it is about none. */
export function namedField(sentence: string): { field: string; rest: string } | null {
  const [, field, rest] = FIELD.exec(sentence) ?? [];
  return field && rest ? { field, rest } : null;
}
