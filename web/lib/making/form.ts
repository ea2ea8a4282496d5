"use client";

import { create } from "zustand";
import { createJSONStorage, persist } from "zustand/middleware";
import type { GenerateRequest } from "producer-twin";
import { settingsOf, START, type Settings } from "../settings";

/** The artist's form. It is kept in this browser. */
export const useForm = create<{ settings: Settings }>()(
  persist(() => ({ settings: START }), {
    name: "producer-twin.form",
    version: 1,
    storage: createJSONStorage(() => localStorage),
    skipHydration: true, // the page that the server made has an empty form
    merge: (kept, now) => ({ settings: { ...now.settings, ...(kept as { settings?: Settings } | undefined)?.settings } }),
  }),
);

export function changeForm(news: Partial<Settings>): void {
  useForm.setState(({ settings }) => ({ settings: { ...settings, ...news } }));
}

/** Fills the form with a request, to make it again or to change it. */
export function fillForm(body: GenerateRequest): void {
  useForm.setState({ settings: settingsOf(body) });
}
