import type { GenerateRequest, Twin } from "./client";

export const FORMATS = ["wav", "flac", "mp3", "opus", "m4a"] as const;
export const KEYS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"].flatMap((note) => [
  `${note} major`,
  `${note} minor`,
]);

/** What the artist's form holds; numbers as they are typed. `mix` is the second twin's share in percent. */
export type Settings = {
  prompt: string;
  twin: string;
  second: string;
  mix: number;
  seconds: string;
  seed: string;
  bpm: string;
  key: string;
  lyrics: string;
};

export const START: Settings = {
  prompt: "",
  twin: "",
  second: "",
  mix: 50,
  seconds: "30",
  seed: "",
  bpm: "",
  key: "",
  lyrics: "",
};

/** The request that the settings stand for. */
export function bodyOf(settings: Settings): GenerateRequest {
  const { twin, second, mix } = settings;
  return {
    prompt: settings.prompt,
    duration_seconds: Number(settings.seconds),
    ...(settings.seed === "" ? {} : { seed: Number(settings.seed) }),
    ...(settings.bpm === "" ? {} : { bpm: Number(settings.bpm) }),
    ...(settings.key === "" ? {} : { key: settings.key }),
    ...(settings.lyrics.trim() === "" ? {} : { lyrics: settings.lyrics }),
    ...(twin && second
      ? {
          loras: [
            { lora_id: twin, weight: (100 - mix) / 100 },
            { lora_id: second, weight: mix / 100 },
          ],
        }
      : twin
        ? { lora_id: twin }
        : {}),
  };
}

/** The tempo where neither the form nor the prompt states one: that of the stronger twin that has one, else null. */
export function defaultBpm({ twin, second, mix }: Settings, twins: Pick<Twin, "lora_id" | "bpm">[]): number | null {
  const strongestFirst = mix > 50 ? [second, twin] : [twin, second];
  const tempos = strongestFirst.map((name) => twins.find((known) => known.lora_id === name)?.bpm ?? null);
  return tempos.find((bpm) => bpm !== null) ?? null;
}

/** Who plays, in words. */
export function cast(settings: Settings): string {
  const { twin, second, mix } = settings;
  if (!twin) return "no twin";
  return second ? `${twin} ${100 - mix} %, ${second} ${mix} %` : twin;
}
