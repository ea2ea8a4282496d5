import { ProducerTwinError } from "./errors.ts";
import type { OnProgress } from "./forms.ts";
import { idempotent, newId } from "./ids.ts";
import { pathOf, type FilePart, type ReadOptions, type Transport } from "./transport.ts";
import type { Deleted, ImportedAdapter, Report, RetrainOptions, RetrainedTwin, Twin, Version } from "./types.ts";

/** Twins: list, inspect, import, export, roll back, train again, delete. */
export class Twins {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** The twins, of one producer or of all. */
  async list(filter: { producer_id?: string } = {}, { signal }: ReadOptions = {}): Promise<Twin[]> {
    const request = { query: filter, withLinks: true, signal };
    return (await this.#transport.json<{ loras: Twin[] }>("GET", "/loras", request)).loras;
  }

  /** A twin, by `producer:model`. */
  get(loraId: string): Promise<Twin> {
    return this.#transport.json("GET", pathOf("/loras/{lora_id}", { lora_id: loraId }), { withLinks: true });
  }

  /** The report on the twin's current version. Throws ProducerTwinError where it was not trained here. */
  async report(loraId: string): Promise<Report> {
    const current = (await this.versions(loraId)).find((version) => version.current);
    if (!current?.job_id) throw new ProducerTwinError(`${loraId} has no report: it was not trained here`);
    return this.#transport.json("GET", pathOf("/jobs/{job_id}/report.json", { job_id: current.job_id }));
  }

  /** Delete a twin with all its versions. */
  delete(loraId: string): Promise<Deleted> {
    return this.#transport.json("DELETE", pathOf("/loras/{lora_id}", { lora_id: loraId }), { repeatable: false });
  }

  /** The versions of a twin, the newest first. */
  async versions(loraId: string, { signal }: ReadOptions = {}): Promise<Version[]> {
    const path = pathOf("/loras/{lora_id}/versions", { lora_id: loraId });
    return (await this.#transport.json<{ versions: Version[] }>("GET", path, { signal })).versions;
  }

  /** Make another version of a twin the current one. */
  rollBack(loraId: string, version: string): Promise<Twin> {
    return this.#transport.json("POST", pathOf("/loras/{lora_id}/rollback", { lora_id: loraId }), { json: { version } });
  }

  /** Train a twin again on its dataset. A `job_id` is chosen unless one is given, so that it is done once. */
  retrain(loraId: string, options: RetrainOptions = {}): Promise<RetrainedTwin> {
    const json = { job_id: newId(), ...options };
    return this.#transport.json("POST", pathOf("/loras/{lora_id}/retrain", { lora_id: loraId }), { json, headers: idempotent() });
  }

  /**
   * Import an adapter that was made elsewhere as a twin.
   *
   * @param adapter the file, the files of its folder, or a zip of them.
   * @param options its `config` (adapter_config.json), the `backend` that it is for, the progress of the upload, and an
   * `idempotencyKey` of your own.
   */
  importAdapter(
    producerId: string,
    modelName: string,
    adapter: File | readonly File[],
    options: { config?: Blob; backend?: string; onProgress?: OnProgress; idempotencyKey?: string } = {},
  ): Promise<ImportedAdapter> {
    const files: FilePart[] = [adapter].flat().map((file) => ({ field: "file", file, name: file.name }));
    if (options.config) files.push({ field: "file", file: options.config, name: "adapter_config.json" });
    const form = { producer_id: producerId, model_name: modelName, backend: options.backend };
    const request = { form, files, headers: idempotent(options.idempotencyKey), onProgress: options.onProgress };
    return this.#transport.json("POST", "/loras/import", request);
  }

  /** The adapter file of a twin, or of one of its other versions, in safetensors' format. */
  async blob(loraId: string, { version }: { version?: string } = {}): Promise<Blob> {
    const path = pathOf("/loras/{lora_id}/file", { lora_id: loraId });
    return (await this.#transport.send("GET", path, { query: { version } })).blob();
  }
}
