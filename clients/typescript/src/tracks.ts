import { hasEnded } from "./ended.ts";
import { followed, type FollowOptions } from "./followed.ts";
import { idempotent } from "./ids.ts";
import { encode, pathOf, type FilePart, type ReadOptions, type Transport } from "./transport.ts";
import type {
  GenerateOptions,
  Peaks,
  QueuePosition,
  StoredTrack,
  SubmitOptions,
  SubmittedTrack,
  Takes,
  Track,
  TrackChanges,
  TrackDeleted,
  TrackFilter,
  TrackPage,
} from "./types.ts";

const OUTPUTS = "/data/outputs/";

/** The files of a track that is made from recordings, and the id under which it can be asked for. */
export interface GenerateFiles {
  /** A file to edit, instead of the path `source`. */
  source?: Blob;
  /** A file whose timbre is followed, instead of the path `reference`. */
  reference?: Blob;
  /** An id of your choice, such as a UUID, for `queue`. */
  requestId?: string;
  /** The same key with the same request is the same track; a new one if left out. */
  idempotencyKey?: string;
  /** Aborting it frees the model, too. */
  signal?: AbortSignal;
}

/** Which page of a list. */
export interface PageOptions extends ReadOptions {
  cursor?: string;
  limit?: number;
}

/** The files of a track that is submitted, and how it is. */
export type SubmitRequestOptions = Omit<GenerateFiles, "requestId">;

function partsOf(files: Pick<GenerateFiles, "source" | "reference">): FilePart[] {
  return (["source", "reference"] as const).flatMap((field) => {
    const file = files[field];
    return file ? [{ field, file, name: file instanceof File ? file.name : "audio" }] : [];
  });
}

/** Tracks: make, follow in the queue, fetch; and the library of those that were made. */
export class Tracks {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Make a track. The options are the fields of `POST /generate`. */
  generate(prompt: string, options: GenerateOptions = {}, files: GenerateFiles = {}): Promise<Track> {
    return this.#generate<Track>({ prompt, ...options }, files);
  }

  /** Make several takes of a track, from 2, which differ in their seeds, in one batch. */
  generateTakes(prompt: string, takes: number, options: GenerateOptions = {}, files: GenerateFiles = {}): Promise<Takes> {
    return this.#generate<Takes>({ prompt, takes, ...options }, files);
  }

  #generate<Made>(options: Readonly<Record<string, unknown>>, files: GenerateFiles): Promise<Made> {
    const fields = { ...options, response: "url" };
    const parts = partsOf(files);
    const headers = idempotent(files.idempotencyKey);
    if (files.requestId) headers["x-request-id"] = files.requestId;
    const common = { headers, withLinks: true, signal: files.signal };
    if (!parts.length) return this.#transport.json("POST", "/generate", { json: fields, ...common });
    return this.#transport.json("POST", "/generate/form", { form: asTexts(fields), files: parts, ...common });
  }

  /** Start to make a track, or several takes, and answer at once. The options are the fields of `POST /generate/submit`. */
  submit(prompt: string, options: SubmitOptions = {}, request: SubmitRequestOptions = {}): Promise<SubmittedTrack> {
    const fields = { prompt, ...options, response: "url" };
    const parts = partsOf(request);
    const common = { headers: idempotent(request.idempotencyKey), withLinks: true, signal: request.signal };
    if (!parts.length) return this.#transport.json("POST", "/generate/submit", { json: fields, ...common });
    return this.#transport.json("POST", "/generate/form/submit", { form: asTexts(fields), files: parts, ...common });
  }

  /** A submitted track now and whenever it changes, until it is made, has failed, or was cancelled; as `jobs.events`. */
  events(trackId: string, options: FollowOptions = {}): AsyncGenerator<SubmittedTrack, void, undefined> {
    const path = pathOf("/tracks/{track_id}/events", { track_id: trackId });
    return followed<SubmittedTrack>(this.#transport, path, hasEnded, options);
  }

  /**
   * The audio of a track that was submitted with `stream`, from its start, as it is made: Ogg Opus, to be read as a
   * stream. That of a finished track is whole.
   */
  async listen(trackId: string, { signal }: ReadOptions = {}): Promise<Response> {
    return this.#transport.send("GET", pathOf("/tracks/{track_id}/stream", { track_id: trackId }), { signal });
  }

  /** The queue position of a track that is being made. */
  queue(requestId: string): Promise<QueuePosition> {
    return this.#transport.json("GET", pathOf("/queue/{request_id}", { request_id: requestId }));
  }

  /** The tracks of the library, the newest first, by pages. `next_cursor` of a page is the `cursor` of the next one. */
  list(filter: TrackFilter = {}, { cursor, limit, signal }: PageOptions = {}): Promise<TrackPage> {
    const query = { ...filter, liked: filter.liked && "true", cursor, limit: limit?.toString() };
    return this.#transport.json("GET", "/tracks", { query, withPassword: true, signal });
  }

  /**
   * A track of the library, with all that made it; a submitted one that is not made yet has a `state`.
   *
   * Its id is its `output_path` without folder and extension, with colons.
   */
  get(trackId: string, { signal }: ReadOptions = {}): Promise<StoredTrack | SubmittedTrack> {
    return this.#transport.json("GET", pathOf("/tracks/{track_id}", { track_id: trackId }), { signal });
  }

  /** Change a track's title, or whether it is liked. */
  change(trackId: string, changes: TrackChanges): Promise<StoredTrack> {
    return this.#transport.json("PATCH", pathOf("/tracks/{track_id}", { track_id: trackId }), { json: { ...changes } });
  }

  /** Delete a track with all that is stored besides it; cancel one that is not made yet. */
  delete(trackId: string): Promise<TrackDeleted> {
    const path = pathOf("/tracks/{track_id}", { track_id: trackId });
    return this.#transport.json("DELETE", path, { repeatable: false });
  }

  /** The waveform of a track, to draw it without its audio. */
  peaks(trackId: string, { signal }: ReadOptions = {}): Promise<Peaks> {
    return this.#transport.json("GET", pathOf("/tracks/{track_id}/peaks", { track_id: trackId }), { signal });
  }

  /**
   * The audio file of a stored track, by its `output_path`.
   *
   * @param format convert a track that is stored as WAV or FLAC to wav, flac, mp3 or opus.
   */
  async blob(stored: string, { format, signal }: ReadOptions & { format?: string } = {}): Promise<Blob> {
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
