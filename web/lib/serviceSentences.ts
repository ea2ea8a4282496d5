import type en from "../messages/en.json";

export type SentenceName = keyof (typeof en)["service"];

/** The sentences of the service that the messages have words for, as its source has them. */
const SENTENCES: Record<SentenceName, string> = {
  audioChanges: "its sample rate or number of channels changes midway; save it as a WAV file",
  audioMissing: "there is no sound in it",
  audioTrackMissing: "there is no audio track in it",
  audioUnknown: "it is not audio that can be read; send WAV, FLAC, MP3, Ogg, Opus, AIFF or M4A",
  backendAway: "{backend} did not answer ({reason}); try again",
  backendFailed: "{backend} did not finish the track ({reason}); try again",
  backendStopped: "{backend} cannot serve: {reason}; try again later, or see /backends",
  blend: "loras: twins of different backends cannot be blended ({kinds})",
  busyProducer: "producer_id: a job of {producer} is under way ({job}); wait for it, or cancel it",
  diskFull: "the server's disk for temporary files is full; try again later",
  fileTooLarge: "{field}: the file is over {size}; send a shorter or compressed one",
  jobMissing: "job_id: there is no job {job}",
  lengthLimit: "{field}: {backend} makes tracks of at most {seconds} s; ask for less",
  nothingStored: "producer_id: nothing is stored for {producer}",
  notYours: "track_id: {track} is not yours; its maker or its producer may change it",
  producerLimit: "producer_id: you have {count} producers, and may claim no more; delete one first",
  producerTaken: "producer_id: {producer} is taken; choose another id",
  storageAway: "the storage cannot be reached; try again later",
  storageFull: "the storage is full; delete something or give it more space",
  tooLong: "duration_seconds: {seconds} is over the {longest} s that {backend} makes at most; ask for less",
  tooManyAtOnce: "too many {kind} at once; wait for one to end, or try again in some seconds",
  tooManyJobs: "{count} jobs of this API key are under way; wait for one to end, or cancel one",
  tooManyRequests: "more than {limit} requests a minute; try again in {seconds} s",
  tooManySubmitted: "{count} submitted tracks are not made yet; wait for one, or cancel one",
  trackMissing: "track_id: there is no track {track} in the library",
  trainingAway: "the training service does not answer; try again later",
  twinDeleted: "lora_id: {twin} was deleted meanwhile",
  twinMissing: "lora_id: there is no twin {twin}",
  uploadMissing: "{field}: {path} does not exist; upload it first",
};

const PATTERNS = Object.entries(SENTENCES).map(([name, sentence]) => ({
  name: name as SentenceName,
  pattern: new RegExp(`^(?<before>(?:[^:]+: )*?)${pattern(sentence)}$`),
}));

/** Which of them this is, with its values, and what stands before it, such as the name of a file; null if it is another. */
export function recognised(sentence: string): { name: SentenceName; values: Record<string, string>; before: string } | null {
  for (const { name, pattern } of PATTERNS) {
    const groups = pattern.exec(sentence)?.groups;
    if (groups) {
      const { before = "", ...values } = groups;
      return { name, values, before };
    }
  }
  return null;
}

function pattern(sentence: string): string {
  return sentence.replace(/[.*+?^$()|[\]\\/]/g, "\\$&").replace(/\{(\w+)\}/g, "(?<$1>.+?)");
}
