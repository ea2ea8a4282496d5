import type { components } from "./schema.ts";

type Schemas = components["schemas"];

export type Analysis = Schemas["AnalysisAnswer"];
export type Backend = Schemas["BackendAnswer"];
export type Dataset = Schemas["DatasetAnswer"];
export type Figures = Schemas["Figures"];
export type Deleted = Schemas["DeletedAnswer"];
export type ImportedAdapter = Schemas["ImportAnswer"];
export type Job = Schemas["JobAnswer"];
export type JobDeleted = Schemas["JobDeletedAnswer"];
export type Peaks = Schemas["PeaksAnswer"];
export type ProducerDeleted = Schemas["ProducerDeletedAnswer"];
export type ProducerRecord = Schemas["ProducerRecordAnswer"];
export type ProducerStorage = Schemas["ProducerAnswer"];
export type Producers = Schemas["ProducersAnswer"];
export type QueuePosition = Schemas["QueueAnswer"];
export type Report = Schemas["ReportAnswer"];
export type RetrainedTwin = Schemas["RetrainAnswer"];
export type StoredTrack = Schemas["TrackAnswer"];
export type SubmittedTrack = Schemas["SubmittedTrackAnswer"];
export type SubmittedTraining = Schemas["SubmittedAnswer"];
export type Takes = Schemas["TakesAnswer"];
export type Task = Schemas["TaskAnswer"];
export type Track = Schemas["GenerateLinkAnswer"];
export type TrackDeleted = Schemas["TrackDeletedAnswer"];
export type TrackPage = Schemas["TracksAnswer"];
export type TrainedTwin = Schemas["TrainAnswer"];
export type Twin = Schemas["LoraAnswer"];
export type Upload = Schemas["StoreUploadAnswer"];
export type UploadLink = Schemas["UploadLinkAnswer"];
export type TwinUsage = Schemas["TwinUsage"];
export type Usage = Schemas["UsageAnswer"];
export type Webhooks = Schemas["WebhooksAnswer"];
export type Version = Schemas["VersionAnswer"];

/** The fields of `POST /generate`. */
export type GenerateRequest = Schemas["GenerateRequest"];
/** The fields of `POST /generate` beside the prompt. The client asks for a link, and fetches the audio from it. */
export type GenerateOptions = Omit<Schemas["GenerateRequest"], "prompt" | "response" | "takes">;
/** The fields of `POST /generate/submit` beside the prompt. */
export type SubmitOptions = Omit<Schemas["SubmitRequest"], "prompt" | "response">;
/** The fields of `POST /train` beside the producer and the uploads. */
export type TrainOptions = Omit<Schemas["TrainRequest"], "producer_id" | "upload_paths">;
export type RetrainOptions = Schemas["RetrainRequest"];
export type ProducerChanges = Schemas["ProducerRequest"];
export type TrackChanges = Schemas["TrackChanges"];
/** Which tracks of the library are listed; a field that is left out does not matter. */
export interface TrackFilter {
  lora_id?: string;
  producer_id?: string;
  /** Words that are all in the title, the prompt or the lyrics. */
  text?: string;
  /** The track that was edited. */
  parent?: string;
  /** Only those that are liked. */
  liked?: true;
}
