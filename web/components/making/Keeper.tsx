"use client";

import { useTranslations } from "next-intl";
import { useEffect } from "react";
import { useForm } from "@/lib/making/form";
import { useRequests } from "@/lib/making/requests";

/** Brings back what the browser kept of the form and the requests, and announces tracks that are ready, on every page. */
export function Keeper() {
  const t = useTranslations("make");
  const newest = useRequests(({ requests }) => requests.find(({ state }) => state === "made"));

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
