"use client";

import type { ReactNode } from "react";
import { signInAddress } from "@/lib/account";

/** Leads to the sign-in page, which comes back to this one. */
export function SignInLink({ children }: { children: ReactNode }) {
  return <a href={signInAddress()}>{children}</a>;
}
