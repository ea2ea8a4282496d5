"use client";

import { create } from "zustand";
import { createJSONStorage, persist } from "zustand/middleware";

/** Whether the player's shortcuts of a single character work. It is kept in this browser. */
export const useSingleKeys = create<{ on: boolean }>()(
  persist((): { on: boolean } => ({ on: true }), {
    name: "producer-twin-single-keys", // no dot in the name, so that signing out keeps it: it belongs to the browser, not to a user
    storage: createJSONStorage(() => localStorage),
  }),
);
