/**
 * Client of the analysis server: submit a track, watch it, play its stems while they are made.
 *
 * Jobs, events and models are the messages of `mismo.analysis.v1`; README.md has examples.
 */

export { status } from "@grpc/grpc-js";
export { Encoding, type FrameRange } from "./generated/mismo/analysis/v1/audio.js";
export {
  type Job,
  type JobError,
  type JobOptions,
  JobState,
  Priority,
  type Progress,
  Stage,
  StageState,
  type StageStatus,
  type StemSetInfo,
} from "./generated/mismo/analysis/v1/job.js";
export {
  type Device,
  type GetServerInfoResponse as ServerInfo,
  type Limits,
  type Model,
  ModelState,
  type WatchResourcesResponse as ResourceSample,
} from "./generated/mismo/analysis/v1/system_service.js";
export type { GetUploadResponse as UploadState } from "./generated/mismo/analysis/v1/transfer_service.js";

export type { OnBytes } from "./artifacts.js";
export { type ArtifactRead, connect, MismoClient, type StemRead, type UploadOptions } from "./client.js";
export type { UnaryOptions } from "./connection.js";
export { crc32c } from "./crc32c.js";
export {
  type FieldViolation,
  JobChangedError,
  JobFailedError,
  MismoError,
  SourceChangedError,
  StreamCorruptError,
} from "./errors.js";
export type { JobSource, JobUpdate, ListOptions, SubmitOptions, Submitted } from "./jobs.js";
export { ClosableIterator } from "./lifetime.js";
export type { ConnectOptions } from "./options.js";
export type { ReadChunk, ReadStemOptions } from "./reading.js";
export type { OnRetry, RetryPolicy } from "./retry.js";
export { frameBytes, type PcmFormat, type StemFormat, wavHeader } from "./stem-format.js";
export { type StemChunk, StemPlayer, type StemStreamOptions } from "./stems.js";
export type { UploadedTrack } from "./upload.js";
export type { UploadSource } from "./upload-source.js";
export type { JobEvent, WatchOptions } from "./watch.js";
export type { WriteOptions } from "./write-all.js";
