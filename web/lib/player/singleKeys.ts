"use client";

import { create } from "zustand";
import { createJSONStorage, persist } from "zustand/middleware";

/** Whether the player's shortcuts of a single character work. It is kept in this browser. */
export const useSingleKeys = create<{ on: boolean }>()(
  persist((): { on: boolean } => ({ on: true }), {
    name: "producer-twin-single-keys", // without the dot of what is kept for a user: whoever signs in next needs it as well
    storage: createJSONStorage(() => localStorage),
  }),
);
