"use client";

import type { Version } from "producer-twin";
import { useLocale, useTranslations } from "next-intl";
import { useEffect, useId, useState } from "react";
import { asking } from "@/lib/asking";
import { api } from "@/lib/client";
import type { Part } from "@/lib/settings";
import { localTime } from "@/lib/time";

/** The versions of a twin that has several. */
export function VersionSelect({ part, change }: { part: Part; change: (version: string) => void }) {
  const t = useTranslations("make");
  const locale = useLocale();
  const id = useId();
  const [listed, setListed] = useState<{ twin: string; versions: Version[] } | null>(null);

  // Without the list, the version in use plays.
  useEffect(
    () => asking({ ask: (signal) => api.twins.versions(part.id, { signal }), take: (versions) => setListed({ twin: part.id, versions }) }),
    [part.id],
  );

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
            {version.slice(0, 8)}, {localTime(created_at, locale)}
          </option>
        ))}
      </select>
    </>
  );
}
