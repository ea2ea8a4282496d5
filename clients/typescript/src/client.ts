import type { OnProgress } from "./forms.ts";
import { Jobs } from "./jobs.ts";
import { Producers } from "./producers.ts";
import { Service } from "./service.ts";
import { Tracks, type GenerateFiles } from "./tracks.ts";
import { Training } from "./training.ts";
import { Transport, type Settings } from "./transport.ts";
import { Twins } from "./twins.ts";
import type { GenerateOptions, Job, TrainOptions, Track } from "./types.ts";
import { Uploads } from "./uploads.ts";

/** A client of a Producer Twin service. Its groups have a method for each route. */
export class ProducerTwin {
  readonly jobs: Jobs;
  readonly producers: Producers;
  readonly service: Service;
  readonly tracks: Tracks;
  readonly training: Training;
  readonly twins: Twins;
  readonly uploads: Uploads;

  constructor(settings: Settings = {}) {
    const transport = new Transport(settings);
    this.jobs = new Jobs(transport);
    this.producers = new Producers(transport);
    this.service = new Service(transport);
    this.tracks = new Tracks(transport);
    this.training = new Training(transport);
    this.twins = new Twins(transport);
    this.uploads = new Uploads(transport);
  }

  /** Make a track, as `tracks.generate`; `lora_id` names a twin. */
  generate(prompt: string, options: GenerateOptions = {}, files: GenerateFiles = {}): Promise<Track> {
    return this.tracks.generate(prompt, options, files);
  }

  /**
   * Send a producer's files and start to train a twin on them. `jobs.wait` waits for the twin.
   *
   * @param options the other fields of `POST /train`.
   * @param onUpload is called with the bytes sent and the bytes in all, of all files.
   */
  async train(producerId: string, files: readonly Blob[], options: TrainOptions = {}, onUpload?: OnProgress): Promise<Job> {
    const total = files.reduce((sum, { size }) => sum + size, 0);
    const paths: string[] = [];
    let before = 0;
    for (const file of files) {
      const start = before;
      const progress = onUpload ? { onProgress: (sent: number) => onUpload(start + sent, total) } : {};
      paths.push((await this.uploads.upload(producerId, file, progress)).path);
      before += file.size;
    }
    const submitted = await this.training.submit(producerId, paths, options);
    return this.jobs.get(submitted.job_id);
  }
}
