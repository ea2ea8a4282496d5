import type { GenerateRequest, LibraryTrack, Twin } from "./client";

export const FORMATS = ["wav", "flac", "mp3", "opus", "m4a"] as const;
export const KEYS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"].flatMap((note) => [
  `${note} major`,
  `${note} minor`,
]);
export const MAX_TAKES = 8;
export const MAX_TWINS = 8;
const MAX_SHARE = 100;

/** A twin of a blend; only the proportions of the shares count. */
export type Part = { id: string; share: number };

export type Rank = "" | "tempo" | "key" | "twin";

/** What the artist's form holds; numbers as they are typed, and "" for what is left to the model. */
export type Settings = {
  prompt: string;
  parts: Part[];
  /** Of a single twin. */
  version: string;
  strength: string;
  seconds: string;
  seed: string;
  takes: string;
  rank: Rank;
  bpm: string;
  key: string;
  lyrics: string;
  steps: string;
  guidance: string;
  backend: string;
  /** A track's id or path, or `producer:<id>`. */
  reference: string;
};

export const START: Settings = {
  prompt: "",
  parts: [],
  version: "",
  strength: "",
  seconds: "30",
  seed: "",
  takes: "1",
  rank: "",
  bpm: "",
  key: "",
  lyrics: "",
  steps: "",
  guidance: "",
  backend: "",
  reference: "",
};

/** The request that the settings stand for. */
export function bodyOf(settings: Settings): GenerateRequest {
  const { prompt, parts, version, rank, lyrics } = settings;
  const [first] = parts;
  const takes = Number(settings.takes);
  return {
    prompt,
    duration_seconds: Number(settings.seconds),
    ...number("seed", settings.seed),
    ...number("bpm", settings.bpm),
    ...number("lora_scale", first ? settings.strength : ""),
    ...number("steps", settings.steps),
    ...number("guidance", settings.guidance),
    ...(takes > 1 ? { takes, ...(rank ? { rank } : {}) } : {}),
    ...(settings.key ? { key: settings.key } : {}),
    ...(lyrics.trim() ? { lyrics } : {}),
    ...(settings.backend && !first ? { backend_override: settings.backend } : {}),
    ...(settings.reference ? { reference: settings.reference } : {}),
    ...(parts.length > 1
      ? { loras: parts.map(({ id, share }) => ({ lora_id: id, weight: share / MAX_SHARE })) }
      : first
        ? { lora_id: version ? `${first.id}@${version}` : first.id }
        : {}),
  };
}

function number<Name extends string>(name: Name, typed: string): Partial<Record<Name, number>> {
  return typed === "" ? {} : ({ [name]: Number(typed) } as Record<Name, number>);
}

/** The same request without its twins, on the backend that serves them. */
export function withoutTwins({ lora_id: _, loras: __, lora_scale: ___, rank, ...body }: GenerateRequest, backend: string): GenerateRequest {
  return { ...body, ...(rank && rank !== "twin" ? { rank } : {}), backend_override: backend };
}

/** The settings that make a track of the library again. */
export function settingsOf({ prompt, options, seed, twins, duration_seconds, bpm, key }: LibraryTrack): Settings {
  const text = (name: string): string => (options[name] === undefined || options[name] === null ? "" : String(options[name]));
  const [only] = twins;
  const loras = (options.loras ?? []) as { lora_id: string; weight?: number }[];
  const shares = new Map(loras.map(({ lora_id, weight }) => [lora_id.split("@")[0], Math.round(MAX_SHARE * (weight ?? 1))]));
  return {
    ...START,
    prompt,
    parts: twins.map(({ lora_id }) => ({ id: lora_id, share: shares.get(lora_id) ?? MAX_SHARE })),
    version: twins.length === 1 && only ? only.version : "",
    strength: text("lora_scale"),
    seconds: text("duration_seconds") || String(duration_seconds),
    seed: String(seed),
    bpm: bpm === null ? "" : String(bpm),
    key: KEYS.find((known) => known === key) ?? "",
    lyrics: text("lyrics"),
    steps: text("steps"),
    guidance: text("guidance"),
    backend: text("backend_override"),
    reference: text("reference"),
  };
}

/** The tempo where neither the form nor the prompt states one: that of the strongest twin that has one, else null. */
export function defaultBpm(parts: Part[], twins: Pick<Twin, "lora_id" | "bpm">[]): number | null {
  const strongestFirst = parts.toSorted((one, other) => other.share - one.share);
  const tempos = strongestFirst.map(({ id }) => twins.find((known) => known.lora_id === id)?.bpm ?? null);
  return tempos.find((bpm) => bpm !== null) ?? null;
}

/** The order of takes that can be told of these settings, where none was chosen. */
export function defaultRank(settings: Settings, twins: Pick<Twin, "lora_id" | "bpm">[]): Rank {
  if (settings.bpm || defaultBpm(settings.parts, twins) !== null) return "tempo";
  return settings.key ? "key" : "";
}

/** Each twin with its share of the whole in percent. */
export function sharesOf(parts: { lora_id: string; weight?: number }[]): { id: string; percent: number }[] {
  const whole = parts.reduce((sum, { weight = 1 }) => sum + weight, 0) || 1;
  return parts.map(({ lora_id, weight = 1 }) => ({ id: lora_id, percent: Math.round((100 * weight) / whole) }));
}
