"use client";

import type { ComponentProps } from "react";
import { Input } from "../Form";
import { ID_PATTERN } from "./ids";

type Props = Omit<ComponentProps<"input">, "onChange" | "onBlur" | "id"> & { id: string; set: (typed: string) => void };

/** A field for an id. A space within it is shown, since it makes it invalid; those around it go when the field is left. */
export function IdInput({ set, ...props }: Props) {
  return (
    <Input
      pattern={ID_PATTERN}
      maxLength={64}
      autoCapitalize="none"
      spellCheck={false}
      {...props}
      onChange={(event) => set(event.target.value)}
      onBlur={(event) => set(event.target.value.trim())}
    />
  );
}
