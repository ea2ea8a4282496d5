"use client";

import { useTranslations } from "next-intl";
import { useId, useState, type FormEvent } from "react";
import { api } from "@/lib/client";
import { Fault, Form, Input } from "../Form";
import { Notice } from "../Notice";
import { IdInput } from "./IdInput";

type Props = { producer: string; imported: () => void };

/** Makes a twin of an adapter file from elsewhere, or of one that was exported here. */
export function ImportTwin({ producer, imported }: Props) {
  const t = useTranslations("import");
  const id = useId();
  const [name, setName] = useState("");
  const [files, setFiles] = useState<File[]>([]);
  const [share, setShare] = useState<number | null>(null); // null while nothing is sent
  const [done, setDone] = useState<{ twin: string; notes: string[] } | null>(null);
  const [trouble, setTrouble] = useState<unknown>(null);

  async function send(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const sent = event.currentTarget;
    setShare(0);
    setTrouble(null);
    setDone(null);
    try {
      const onProgress = (sent: number, total: number): void => setShare(sent / total);
      const answer = await api.twins.importAdapter(producer, name, files, { onProgress });
      setDone({ twin: answer.lora_id, notes: answer.notes });
      setFiles([]);
      setName("");
      sent.reset();
      imported();
    } catch (error) {
      setTrouble(error);
    }
    setShare(null);
  }

  return (
    <details className="panel">
      <summary>{t("title")}</summary>
      <p className="hint">{t("hint")}</p>
      <Form onSubmit={(event) => void send(event)}>
        <label htmlFor={`${id}files`}>{t("files")}</label>
        <Input
          id={`${id}files`}
          type="file"
          required
          multiple
          accept=".safetensors,.json,.zip,.pt,.bin"
          onChange={(event) => setFiles([...(event.target.files ?? [])])}
        />
        <Fault id={`${id}files`} />
        <label htmlFor={`${id}name`}>{t("name")}</label>
        <IdInput id={`${id}name`} required value={name} set={setName} />
        <Fault id={`${id}name`} />
        {share !== null && <progress aria-label={t("progress")} value={share} max={1} />}
        <div className="actions">
          <button type="submit" disabled={share !== null}>
            {t("import")}
          </button>
        </div>
      </Form>
      <Notice>{trouble}</Notice>
      <div role="status">
        {done && (
          <>
            <p>{t("done", { twin: done.twin })}</p>
            {done.notes.map((note) => (
              <p key={note} className="hint" lang="en">
                {note}
              </p>
            ))}
          </>
        )}
      </div>
    </details>
  );
}
