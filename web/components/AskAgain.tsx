"use client";

import { useRouter } from "next/navigation";
import { useEffect } from "react";

const AGAIN_MILLISECONDS = 5000;

/** On a page that the server could not make: has it made again, until it is. */
export function AskAgain() {
  const router = useRouter();
  useEffect(() => {
    const timer = setInterval(() => router.refresh(), AGAIN_MILLISECONDS);
    return () => clearInterval(timer);
  }, [router]);
  return null;
}
