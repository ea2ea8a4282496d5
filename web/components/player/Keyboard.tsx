"use client";

import { useTranslations } from "next-intl";
import { useId, useState } from "react";
import { useSingleKeys } from "@/lib/player/singleKeys";
import { Dialog } from "../Dialog";

/** A button that opens the list of the player's shortcuts, where those of a single character are switched off. */
export function Keyboard() {
  const t = useTranslations("player");
  const id = useId();
  const [isOpen, setOpen] = useState(false);
  const { on } = useSingleKeys();
  return (
    <>
      <button type="button" className="plain" onClick={() => setOpen(true)}>
        {t("keys")}
      </button>
      {isOpen && (
        <Dialog label={t("keysOf")} close={() => setOpen(false)}>
          <h2>{t("keysOf")}</h2>
          <ul className="keys">
            <li>{t("keySpace")}</li>
            <li>{t("keyLoop")}</li>
            <li>{t("keyArrows")}</li>
          </ul>
          <p>{t("keyDrag")}</p>
          <label className="check">
            <input
              type="checkbox"
              checked={on}
              aria-describedby={id}
              onChange={(event) => useSingleKeys.setState({ on: event.target.checked })}
            />
            {t("singleKeys")}
          </label>
          <p id={id} className="hint">
            {t("singleKeysHint")}
          </p>
          <div className="actions">
            <button type="button" onClick={() => setOpen(false)}>
              {t("keysDone")}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
