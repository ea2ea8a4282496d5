import { encode, pathOf, type FilePart, type Transport } from "./transport.js";
import type { GenerateOptions, QueuePosition, Track } from "./types.js";

const OUTPUTS = "/data/outputs/";

/** The files of a track that is made from recordings, and the id under which it can be asked for. */
export interface GenerateFiles {
  /** A file to edit, instead of the path `source`. */
  source?: Blob;
  /** A file whose timbre is followed, instead of the path `reference`. */
  reference?: Blob;
  /** An id of your choice, such as a UUID, for `queue`. */
  requestId?: string;
  /** Aborting it frees the model, too. */
  signal?: AbortSignal;
}

/** Tracks: make, follow in the queue, fetch. */
export class Tracks {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Make a track. The options are the fields of `POST /generate`. */
  generate(prompt: string, options: GenerateOptions = {}, files: GenerateFiles = {}): Promise<Track> {
    const fields = { prompt, ...options, response: "url" };
    const parts: FilePart[] = [];
    for (const field of ["source", "reference"] as const) {
      const file = files[field];
      if (file) parts.push({ field, file, name: file instanceof File ? file.name : "audio" });
    }
    const headers: Record<string, string> = files.requestId ? { "x-request-id": files.requestId } : {};
    const common = { headers, withLinks: true, signal: files.signal };
    if (!parts.length) return this.#transport.json("POST", "/generate", { json: fields, ...common });
    return this.#transport.json("POST", "/generate/form", { form: asTexts(fields), files: parts, ...common });
  }

  /** The queue position of a track that is being made. */
  queue(requestId: string): Promise<QueuePosition> {
    return this.#transport.json("GET", pathOf("/queue/{request_id}", { request_id: requestId }));
  }

  /**
   * The audio file of a stored track, by its `output_path`.
   *
   * @param format convert a track that is stored as WAV or FLAC to wav, flac, mp3 or opus.
   */
  async blob(stored: string, { format, signal }: { format?: string; signal?: AbortSignal } = {}): Promise<Blob> {
    const parts = stored.startsWith(OUTPUTS) ? stored.slice(OUTPUTS.length) : stored;
    const path = OUTPUTS + parts.split("/").map(encode).join("/");
    return (await this.#transport.send("GET", path, { query: { format }, signal })).blob();
  }
}

/** The fields of a form, whose lists are JSON. */
function asTexts(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  const sent = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(sent.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]));
}
