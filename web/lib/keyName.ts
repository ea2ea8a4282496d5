import type { Language } from "@/i18n/languages";

const NOTES_IN_GERMAN: Record<string, string> = {
  ...{ C: "C", D: "D", E: "E", F: "F", G: "G", A: "A", B: "H" },
  ...{ "C#": "Cis", "D#": "Dis", "E#": "Eis", "F#": "Fis", "G#": "Gis", "A#": "Ais", "B#": "His" },
  ...{ Cb: "Ces", Db: "Des", Eb: "Es", Fb: "Fes", Gb: "Ges", Ab: "As", Bb: "B" },
};

/** What a language calls a key that the service has, such as "C# minor". Any other text stays as it is. */
export function keyName(key: string, language: Language): string {
  const [, note = "", mode] = /^([A-G][#b]?) (major|minor)$/.exec(key) ?? [];
  const inGerman = NOTES_IN_GERMAN[note];
  if (language !== "de" || inGerman === undefined) return key;
  return mode === "major" ? `${inGerman}-Dur` : `${inGerman.toLowerCase()}-Moll`;
}
