import type { OnProgress } from "./forms.js";
import { Jobs } from "./jobs.js";
import { Producers } from "./producers.js";
import { Service } from "./service.js";
import { Tracks, type GenerateFiles } from "./tracks.js";
import { Training } from "./training.js";
import { Transport, type Settings } from "./transport.js";
import { Twins } from "./twins.js";
import type { GenerateOptions, Job, TrainOptions, Track } from "./types.js";
import { Uploads } from "./uploads.js";

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
