"use client";

import type { Version } from "producer-twin";
import { useFormatter, useTranslations } from "next-intl";
import { useEffect, useId, useState } from "react";
import { api } from "@/lib/client";
import type { Part } from "@/lib/settings";

/** The versions of a twin that has several. */
export function VersionSelect({ part, change }: { part: Part; change: (version: string) => void }) {
  const t = useTranslations("make");
  const format = useFormatter();
  const id = useId();
  const [listed, setListed] = useState<{ twin: string; versions: Version[] } | null>(null);

  useEffect(() => {
    let gone = false;
    // Without the list, the version in use plays.
    api.twins.versions(part.id).then(
      (versions) => !gone && setListed({ twin: part.id, versions }),
      () => undefined,
    );
    return () => {
      gone = true;
    };
  }, [part.id]);

  const versions = listed?.twin === part.id ? listed.versions : [];
  if (versions.length < 2 && !part.version) return null;
  return (
    <>
      <label htmlFor={id}>{t("versionOf", { twin: part.id })}</label>
      <select id={id} value={part.version} onChange={(event) => change(event.target.value)}>
        <option value="">{t("versionInUse")}</option>
        {part.version && !versions.some(({ version }) => version === part.version) && (
          <option value={part.version}>{part.version.slice(0, 8)}</option>
        )}
        {versions.map(({ version, created_at }) => (
          <option key={version} value={version}>
            {version.slice(0, 8)}, {format.dateTime(new Date(created_at), { dateStyle: "medium", timeStyle: "short" })}
          </option>
        ))}
      </select>
    </>
  );
}
