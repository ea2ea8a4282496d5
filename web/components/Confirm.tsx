"use client";

import { useTranslations } from "next-intl";
import { useId, useRef, type ReactNode } from "react";

type Props = {
  children: ReactNode;
  label?: string;
  question: string;
  detail: string;
  yes: string;
  act: () => void;
};

/** A button whose action is asked about first. */
export function Confirm({ children, label, question, detail, yes, act }: Props) {
  const t = useTranslations("confirm");
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  return (
    <>
      <button type="button" aria-label={label} aria-haspopup="dialog" onClick={() => dialog.current?.showModal()}>
        {children}
      </button>
      <dialog ref={dialog} className="panel narrow" aria-labelledby={`${id}question`} aria-describedby={`${id}detail`}>
        <h3 id={`${id}question`}>{question}</h3>
        <p id={`${id}detail`}>{detail}</p>
        <div className="actions">
          <button
            type="button"
            className="strong"
            onClick={() => {
              dialog.current?.close();
              act();
            }}
          >
            {yes}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            {t("goBack")}
          </button>
        </div>
      </dialog>
    </>
  );
}
