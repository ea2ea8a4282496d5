export type Point = readonly [step: number, loss: number];

/** A figure with its interval. Reports of earlier versions have the number alone. */
export type Figure = { value: number; low: number; high: number } | number | null | undefined;

/** A loss without and with the twin; `gain` is the relative difference, above 0 if the twin is better. */
export type Gain = { gain: number; low: number | null; high: number | null };

export type Found = { value: string | number; source: string | null } | null;

export type Song = {
  song: number;
  name: string;
  seconds: number;
  segments: number;
  held_out: boolean;
  duplicate_of: string | null;
  tempo: Found;
  key: Found;
};

/** The fields of a report (docs/training.md) that the page shows. */
export type Report = {
  complete: boolean;
  verdict: { verdict: string; sentence: string; advice: string } | null;
  data: { songs: number; trained_seconds: number; by_song?: Song[]; warnings: string[] } | null;
  training: { total_steps: number; loss: Point[]; held_out_loss: Point[]; kept?: { step: number } | null } | null;
  held_out: (Gain & { by_song?: { song: number; gain: number }[] }) | null;
  trained_on: (Gain & { by_song?: { song: number; gain: number }[] }) | null;
  other_music: Gain | null;
  resemblance: { with_twin: Figure; without: Figure; own?: Figure; other_music?: Figure } | null;
  comparisons: { prompt: string; without: string; with_twin: string }[];
  own_clips: { name: string; song: number; prompt: string }[];
  unmeasured: string[];
};

export function valueOf(figure: Figure): number | null {
  return typeof figure === "number" ? figure : (figure?.value ?? null);
}

/** The gain of each song that was measured, by the song's index. */
export function gainsOf({ held_out, trained_on }: Report): Map<number, number> {
  return new Map([...(trained_on?.by_song ?? []), ...(held_out?.by_song ?? [])].map(({ song, gain }) => [song, gain]));
}
