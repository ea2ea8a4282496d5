import type { GenerateRequest, StoredTrack, Twin } from "producer-twin";

export const FORMATS = ["wav", "flac", "mp3", "opus", "m4a"] as const;
export const KEYS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"].flatMap((note) => [
  `${note} major`,
  `${note} minor`,
]);
export const MAX_TAKES = 8;
export const MAX_TWINS = 8;
const MAX_SHARE = 100;

/** A twin; "" is the version in use. Of the shares of a blend only the proportions count. */
export type Part = { id: string; version: string; share: number };

export type Rank = "" | "tempo" | "key" | "twin";

/** What the artist's form holds; numbers as they are typed, and "" for what is left to the model. */
export type Settings = {
  prompt: string;
  parts: Part[];
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
  const { prompt, parts, rank, lyrics } = settings;
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
      ? { loras: parts.map((part) => ({ lora_id: loraId(part), weight: part.share / MAX_SHARE })) }
      : first
        ? { lora_id: loraId(first) }
        : {}),
  };
}

const loraId = ({ id, version }: Part): string => (version ? `${id}@${version}` : id);

function number<Name extends string>(name: Name, typed: string): Partial<Record<Name, number>> {
  return typed === "" ? {} : ({ [name]: Number(typed) } as Record<Name, number>);
}

/** The same request without its twins, on the backend that serves them. */
export function withoutTwins(request: GenerateRequest, backend: string | undefined): GenerateRequest {
  const body = { ...request };
  delete body.lora_id;
  delete body.loras;
  delete body.lora_scale;
  if (body.rank === "twin") delete body.rank;
  return backend === undefined ? body : { ...body, backend_override: backend };
}

/** The settings that a request stands for. */
export function settingsOf(body: GenerateRequest): Settings {
  const text = (value: unknown): string => (value === undefined || value === null ? "" : String(value));
  const loras: { lora_id: string; weight?: number }[] = body.loras ?? (body.lora_id ? [{ lora_id: body.lora_id }] : []);
  return {
    prompt: body.prompt,
    parts: loras.map(({ lora_id, weight = 1 }) => {
      const [id = "", version = ""] = lora_id.split("@");
      return { id, version, share: Math.round(MAX_SHARE * weight) };
    }),
    strength: text(body.lora_scale),
    seconds: text(body.duration_seconds ?? START.seconds),
    seed: text(body.seed),
    takes: text(body.takes ?? START.takes),
    rank: body.rank === undefined || body.rank === "none" ? "" : body.rank,
    bpm: text(body.bpm),
    key: KEYS.find((known) => known === body.key) ?? "",
    lyrics: body.lyrics ?? "",
    steps: text(body.steps),
    guidance: text(body.guidance),
    backend: text(body.backend_override),
    reference: text(body.reference),
  };
}

/** The request that makes a track of the library again, with the versions that played. */
export function requestOf({ prompt, options, seed, twins, duration_seconds }: StoredTrack): GenerateRequest {
  const pinned = (id: string): string => {
    const twin = twins.find(({ lora_id }) => lora_id === id.split("@")[0]);
    return twin ? `${twin.lora_id}@${twin.version}` : id;
  };
  const { lora_id, loras, ...body } = { duration_seconds, ...options, prompt, seed } as GenerateRequest;
  return {
    ...body,
    ...(lora_id ? { lora_id: pinned(lora_id) } : {}),
    ...(loras ? { loras: loras.map((part) => ({ ...part, lora_id: pinned(part.lora_id) })) } : {}),
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

/** Who plays: the twins of a request, and those of a blend with their shares. "" without a twin. */
export function castOf({ lora_id, loras }: Pick<GenerateRequest, "lora_id" | "loras">): string {
  if (!loras || loras.length < 2) return loras?.[0]?.lora_id ?? lora_id ?? "";
  const percents = percentsOf(loras.map(({ weight = 1 }) => weight));
  return loras.map((part, index) => `${part.lora_id} ${percents[index]} %`).join(", ");
}

/** Shares of the whole in percent, whose sizes add up to 100: those with the largest fractions are rounded up. */
export function percentsOf(shares: number[]): number[] {
  const whole = shares.reduce((sum, share) => sum + Math.abs(share), 0) || 1;
  const exact = shares.map((share) => (100 * Math.abs(share)) / whole);
  const left = Math.round(exact.reduce((sum, percent) => sum + percent - Math.floor(percent), 0));
  const byFraction = [...exact.keys()].sort((one, other) => ((exact[other] ?? 0) % 1) - ((exact[one] ?? 0) % 1));
  const up = new Set(byFraction.slice(0, left));
  return exact.map((percent, index) => Math.sign(shares[index] ?? 0) * (Math.floor(percent) + (up.has(index) ? 1 : 0)));
}
