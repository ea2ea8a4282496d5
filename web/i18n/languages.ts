export const LANGUAGES = { en: "English", de: "Deutsch" } as const;

export type Language = keyof typeof LANGUAGES;

export const DEFAULT_LANGUAGE: Language = "en";

/** Holds the language that a visitor chose. Without it, the browser's `Accept-Language` decides. */
export const LANGUAGE_COOKIE = "language";

export const isLanguage = (name: string | undefined): name is Language => name !== undefined && Object.hasOwn(LANGUAGES, name);
