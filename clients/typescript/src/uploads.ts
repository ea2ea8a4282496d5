import type { OnProgress } from "./forms.ts";
import { idempotent, newId } from "./ids.ts";
import type { ReadOptions, Transport } from "./transport.ts";
import type { Analysis, Upload, UploadLink } from "./types.ts";

/** What an upload is stored as. A `job_id` is chosen unless one is given: a file that is sent again is stored once. */
export interface UploadOptions {
  /** The folder in storage. */
  job_id?: string;
  /** The name in storage; the file's own if left out. */
  filename?: string;
}

/** A producer's audio files: send and analyse. */
export class Uploads {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Send a file of any size. `onProgress` is called with the bytes that have been sent. */
  upload(
    producerId: string,
    file: Blob,
    options: UploadOptions & { onProgress?: OnProgress; signal?: AbortSignal } = {},
  ): Promise<Upload> {
    const { onProgress, signal, ...named } = options;
    const { filename, job_id } = stored(file, named);
    const form = { producer_id: producerId, job_id, filename };
    const files = [{ field: "file", file, name: filename }];
    return this.#transport.json("POST", "/uploads", { form, files, headers: idempotent(), onProgress, signal });
  }

  /** Send a file within JSON. */
  async store(producerId: string, file: Blob, options: UploadOptions = {}): Promise<Upload> {
    const json = { producer_id: producerId, ...stored(file, options), content_base64: await asBase64(file) };
    return this.#transport.json("POST", "/store-upload", { json, headers: idempotent() });
  }

  /** A URL to send a file of `bytes` bytes straight to the bucket, where storage is S3. */
  link(producerId: string, bytes: number, options: UploadOptions = {}): Promise<UploadLink> {
    const json = { producer_id: producerId, bytes, ...stored(null, options) };
    return this.#transport.json("POST", "/uploads/link", { json, headers: idempotent() });
  }

  /** The length, tempo, key and levels of an upload, by the path that it was answered. */
  analysis(path: string, { signal }: ReadOptions = {}): Promise<Analysis> {
    return this.#transport.json("GET", "/uploads/analysis", { query: { path }, withPassword: true, signal });
  }
}

function stored(file: Blob | null, { filename, job_id }: UploadOptions): Required<UploadOptions> {
  const own = file instanceof File ? file.name : "audio.wav";
  return { filename: filename ?? own, job_id: job_id ?? newId() };
}

async function asBase64(file: Blob): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  // Arguments of one call are limited.
  for (let start = 0; start < bytes.length; start += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(text);
}
