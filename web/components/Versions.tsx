"use client";

import { useEffect, useState, type ReactNode } from "react";
import { answered, passwordHeader, service, words, type Twin, type Version } from "@/lib/client";
import { Notice } from "./Notice";

type Props = { twin: Twin; password: string; changed: () => void; children?: ReactNode };

/** A twin's versions: which one sings now, and which one shall; `children` come below them. */
export function Versions({ twin, password, changed, children }: Props) {
  const [versions, setVersions] = useState<Version[]>([]);
  const [trouble, setTrouble] = useState<string | null>(null);
  const id = twin.lora_id;

  useEffect(() => {
    answered(service.GET("/loras/{lora_id}/versions", { params: { path: { lora_id: id } } })).then(
      (listed) => setVersions(listed.versions),
      (error: unknown) => setTrouble(words(error)),
    );
  }, [id, twin.version]);

  async function use(version: string): Promise<void> {
    setTrouble(null);
    try {
      await answered(
        service.POST("/loras/{lora_id}/rollback", {
          params: { path: { lora_id: id } },
          body: { version },
          headers: passwordHeader(password),
        }),
      );
      changed();
    } catch (error) {
      setTrouble(words(error));
    }
  }

  return (
    <li className="panel" aria-label={`Twin ${id}`}>
      <h3>
        {id} <span className="hint">{twin.backend}</span>
      </h3>
      {twin.reason && <p className="hint">{twin.reason}</p>}
      <ul className="versions">
        {versions.map((version) => (
          <li key={version.version}>
            <span>
              <code>{version.version.slice(0, 8)}</code>{" "}
              <time dateTime={version.created_at}>{new Date(version.created_at).toLocaleString()}</time>
            </span>
            <span className="actions">
              {version.current ? (
                <strong>In use</strong>
              ) : (
                <button type="button" onClick={() => void use(version.version)} aria-label={`Use this one: version ${version.version.slice(0, 8)}`}>
                  Use this one
                </button>
              )}
              <a
                className="button"
                href={`/api/service/loras/${encodeURIComponent(id)}/file?version=${version.version}`}
                aria-label={`Download version ${version.version.slice(0, 8)}`}
                download
              >
                Download
              </a>
            </span>
          </li>
        ))}
      </ul>
      <Notice>{trouble}</Notice>
      {children}
    </li>
  );
}
