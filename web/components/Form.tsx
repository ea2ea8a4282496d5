"use client";

import { createContext, useContext, useEffect, useRef, useState, type ComponentProps, type FormEvent } from "react";

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** What is wrong with the fields of the form, by their ids, in the words of the browser or the service. */
const Faults = createContext<Record<string, string>>({});

type FormProps = ComponentProps<"form"> & { refused?: { field: string; rest: string } | null };

/**
 * A form whose invalid fields say so beside themselves. Closed details with such a field open, so that it gets the focus.
 *
 * `refused` is what the service says of a field, by the field's name.
 */
export function Form({ children, refused = null, ...props }: FormProps) {
  const form = useRef<HTMLFormElement>(null);
  const [faults, setFaults] = useState<Record<string, string>>({});

  useEffect(() => {
    const field = refused && form.current?.elements.namedItem(refused.field);
    if (!field || !("checkValidity" in field)) return;
    (field as Field).setCustomValidity(refused.rest);
    (field as Field).checkValidity();
    (field as Field).setCustomValidity(""); // it may be sent again as it is
    const { activeElement } = document;
    if (activeElement === document.body || form.current?.contains(activeElement)) (field as Field).focus();
  }, [refused]);

  function note(event: FormEvent): void {
    const field = event.target as Field;
    const details = field.closest("details");
    if (details) details.open = true;
    setFaults((old) => ({ ...old, [field.id]: field.validationMessage }));
  }

  /** Once it was said to be wrong, a field is checked at each change. */
  function check(event: FormEvent): void {
    const field = event.target as Field;
    setFaults((old) => (field.id in old ? { ...old, [field.id]: field.validationMessage } : old));
  }

  return (
    <form {...props} ref={form} onInvalidCapture={note} onInput={check} onChange={check}>
      <Faults value={faults}>{children}</Faults>
    </form>
  );
}

export function Input(props: ComponentProps<"input"> & { id: string }) {
  return <input {...props} {...useFault(props.id)} />;
}

export function TextArea(props: ComponentProps<"textarea"> & { id: string }) {
  return <textarea {...props} {...useFault(props.id)} />;
}

export function Select(props: ComponentProps<"select"> & { id: string }) {
  return <select {...props} {...useFault(props.id)} />;
}

/** What is wrong with the field of this id; nothing if it is right. */
export function Fault({ id }: { id: string }) {
  const fault = useContext(Faults)[id];
  return fault ? (
    <p id={`${id}fault`} className="fault">
      {fault}
    </p>
  ) : null;
}

function useFault(id: string): { "aria-invalid"?: true; "aria-describedby"?: string } {
  return useContext(Faults)[id] ? { "aria-invalid": true, "aria-describedby": `${id}fault` } : {};
}
