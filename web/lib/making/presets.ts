import type { Settings } from "../settings";

/** Settings to begin with: genres that the shipped starters were trained on. */
export const PRESETS: Pick<Settings, "prompt" | "bpm" | "key">[] = [
  { prompt: "dark trap, 808 bass, bells, hard drums", bpm: "140", key: "C minor" },
  { prompt: "uplifting deep house, plucks, drum beat", bpm: "122", key: "A minor" },
  { prompt: "chill lofi beat, guitar, mellow drums", bpm: "80", key: "F major" },
  { prompt: "retro synthwave, lead synth, with drums", bpm: "100", key: "E minor" },
];

/** Structure tags of lyrics, as the models were trained on them. */
export const STRUCTURE_TAGS = ["[Intro]", "[Verse]", "[Chorus]", "[Bridge]", "[Outro]", "[Instrumental]"];
