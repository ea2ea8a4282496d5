"use client";

import { create } from "zustand";

/** The app's password, in the memory of this page only. `wanted`: a route has asked for it, or it was wrong. */
export const usePassword = create<{ password: string; wanted: boolean }>()(() => ({ password: "", wanted: false }));
