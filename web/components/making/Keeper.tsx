"use client";

import { useTranslations } from "next-intl";
import { useEffect } from "react";
import { useForm } from "@/lib/making/form";
import { useRequests } from "@/lib/making/requests";
import { useReady, watchRequests } from "@/lib/making/underWay";

declare global {
  interface Window {
    replayClicks?: () => void; // by lib/server/earlyClicks.ts
  }
}

/**
 * On every page: brings back the form that the browser kept, keeps up with the requests under way, announces tracks that
 * are ready, repeats clicks that came before this page's scripts, and warns before a reload that would end a request.
 */
export function Keeper() {
  const t = useTranslations("make");
  const ready = useReady();
  const ends = useRequests(({ requests }) => requests.some(({ state, plain }) => plain && state === "underWay"));

  // Of the one route that every deployment has, the service stops when the connection closes.
  useEffect(() => {
    if (!ends) return;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [ends]);

  useEffect(() => {
    window.replayClicks?.();
    void useForm.persist?.rehydrate(); // a browser that keeps nothing has no storage
    return watchRequests();
  }, []);

  return (
    <p role="status" className="unseen">
      {ready.count > 0 && t("ready", ready)}
    </p>
  );
}
