"use client";

import { create } from "zustand";
import { ServiceError } from "./client";
import { Failure } from "./failure";

/** The app's password, in the memory of this page only. `wanted`: a route has asked for it, or it was wrong. */
export const usePassword = create<{ password: string; wanted: boolean }>()(() => ({ password: "", wanted: false }));

/** Whether this app, or the service, refused a request for its password. */
export function wantsPassword(error: unknown): boolean {
  if (error instanceof Failure) return error.reason === "wrongPassword";
  return error instanceof ServiceError && error.status === 401 && error.message.startsWith("x-train-password");
}
