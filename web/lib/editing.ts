import type { GenerateRequest, StoredTrack } from "producer-twin";

export const EDITS = ["repaint", "extend", "cover"] as const;
export type Edit = (typeof EDITS)[number];

/** What the form of an edit holds; numbers as they are typed. */
export type EditSettings = {
  task: Edit;
  prompt: string;
  /** "" is none. */
  twin: string;
  seed: string;
  start: string;
  end: string;
  before: string;
  after: string;
  strength: number;
};

/** An edit's form at first: the track's own prompt and, if it has one only, its twin. */
export function editOf(track: StoredTrack): EditSettings {
  const [only, ...others] = track.twins;
  return {
    task: "repaint",
    prompt: track.prompt,
    twin: others.length === 0 ? (only?.lora_id ?? "") : "",
    seed: "",
    start: "",
    end: "",
    before: "",
    after: "8",
    strength: 0.7,
  };
}

/** The request of an edit. The new music has the tempo, the key and the lyrics that the track was asked for. */
export function bodyOfEdit(track: StoredTrack, edit: EditSettings): GenerateRequest {
  const { lyrics } = track.options;
  const of: Record<Edit, Partial<GenerateRequest>> = {
    repaint: { ...seconds("start", edit.start), ...seconds("end", edit.end) },
    extend: { ...seconds("before", edit.before), ...seconds("after", edit.after) },
    cover: { strength: edit.strength },
  };
  return {
    prompt: edit.prompt,
    task: edit.task,
    source: track.track_id,
    ...of[edit.task],
    ...seconds("seed", edit.seed),
    ...(track.bpm === null ? {} : { bpm: track.bpm }),
    ...(track.key === null ? {} : { key: track.key }),
    ...(typeof lyrics === "string" && lyrics ? { lyrics } : {}),
    ...(edit.twin ? { lora_id: edit.twin } : { backend_override: track.backend }),
  };
}

function seconds<Name extends string>(name: Name, typed: string): Partial<Record<Name, number>> {
  return Number(typed) > 0 || (typed !== "" && name === "seed") ? ({ [name]: Number(typed) } as Record<Name, number>) : {};
}
