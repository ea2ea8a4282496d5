"use client";

import { useTranslations } from "next-intl";
import { useEffect } from "react";
import { useForm } from "@/lib/making/form";
import { useRequests } from "@/lib/making/requests";

/**
 * On every page: brings back the form and the requests that the browser kept, announces tracks that are ready, and warns
 * before a reload that would end a request.
 */
export function Keeper() {
  const t = useTranslations("make");
  const newest = useRequests(({ requests }) => requests.find(({ state }) => state === "made"));

  const working = useRequests(({ requests }) => requests.some(({ state }) => state === "underWay"));

  // The service stops when the connection closes.
  useEffect(() => {
    if (!working) return;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [working]);

  useEffect(() => {
    // A browser that keeps nothing has no storage.
    void useForm.persist?.rehydrate();
    void useRequests.persist?.rehydrate();
  }, []);

  return (
    <p role="status" className="unseen">
      {newest && t("ready", { count: newest.made.length, prompt: newest.body.prompt })}
    </p>
  );
}
