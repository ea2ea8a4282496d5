"use client";

import { ApiError } from "producer-twin";
import { create } from "zustand";
import { failureOf } from "./failure";

/** The app's password, in the memory of this page only. `wanted`: a route has asked for it, or it was wrong. */
export const usePassword = create<{ password: string; wanted: boolean }>()(() => ({ password: "", wanted: false }));

/** Whether this app, or the service, refused a request for its password. */
export function wantsPassword(error: unknown): boolean {
  if (failureOf(error)?.reason === "wrongPassword") return true;
  return error instanceof ApiError && error.status === 401 && error.sentence.startsWith("x-train-password");
}
