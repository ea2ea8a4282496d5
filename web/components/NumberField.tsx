"use client";

import { useId, type ComponentProps } from "react";
import { Fault, Input } from "./Form";

const MAX_SEED = 4_294_967_295;

type Props = Omit<ComponentProps<"input">, "id" | "type" | "onChange"> & { label: string; value: string; change: (typed: string) => void };

/** A number with its label, and what is wrong with it. */
export function NumberField({ label, change, ...props }: Props) {
  const id = useId();
  return (
    <div>
      <label htmlFor={id}>{label}</label>
      <Input {...props} id={id} type="number" onChange={(event) => change(event.target.value)} />
      <Fault id={id} />
    </div>
  );
}

/** `none` says what an empty field means. */
export function SeedField({ none, ...props }: { label: string; none: string; value: string; change: (typed: string) => void }) {
  return <NumberField name="seed" min={0} max={MAX_SEED} placeholder={none} {...props} />;
}
