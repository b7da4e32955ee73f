/**
 * Client of the analysis server: submit a track, watch it, play its stems while they are made.
 *
 * Jobs, events and models are the messages of `mismo.analysis.v1`; README.md has examples.
 */

export { status } from "@grpc/grpc-js";
export { Encoding, type FrameRange } from "./generated/mismo/analysis/v1/audio.js";
export {
  type Artifact,
  type Job,
  type JobOptions,
  JobState,
  Priority,
  type Progress,
  type StemSetInfo,
} from "./generated/mismo/analysis/v1/job.js";
export {
  type JobError,
  type LoudnessResult,
  Stage,
  StageState,
  type StageStatus,
  type StemOptions,
} from "./generated/mismo/analysis/v1/stage.js";
export {
  type Device,
  type GetServerInfoResponse as ServerInfo,
  type Limits,
  type Model,
  ModelState,
  type StageInfo,
  type WatchResourcesResponse as ResourceSample,
} from "./generated/mismo/analysis/v1/system_service.js";
export {
  type GetUploadResponse as UploadState,
  NotReadyReason,
  type WaveformInfo,
} from "./generated/mismo/analysis/v1/transfer_service.js";

export type { ArtifactOptions, OnBytes } from "./artifact-reader.js";
export {
  type ArtifactRead,
  type ChangeOptions,
  connect,
  MismoClient,
  type StemRead,
  type UploadOptions,
} from "./client.js";
export type { UnaryOptions } from "./connection.js";
export { crc32c } from "./crc32c.js";
export {
  ChecksumError,
  JobFailedError,
  MismoError,
  RunReplacedError,
  SeekRefusedError,
  SourceChangedError,
  StreamCorruptError,
} from "./errors.js";
export type { HeartbeatOptions } from "./heartbeat.js";
export {
  type JobSource,
  type JobUpdate,
  type ListOptions,
  loudnessOf,
  type SeparationOptions,
  type SubmitOptions,
  type Submitted,
} from "./jobs.js";
export { ClosableIterator } from "./lifetime.js";
export type { ConnectOptions } from "./options.js";
export type { AppliedSeek } from "./pending-seeks.js";
export type { OnRetry, RetryPolicy } from "./retry.js";
export type { FieldViolation } from "./rpc-status.js";
export type { StartPosition } from "./start-position.js";
export type { CreditOptions } from "./stem-credit.js";
export { frameBytes, type PcmFormat, type StemFormat, wavHeader } from "./stem-format.js";
export { StemPlayer } from "./stem-player.js";
export type { ReadChunk, ReadStemOptions } from "./stem-reader.js";
export type { NotReady, StemChunk, StemStreamOptions } from "./stem-stream.js";
export type { UploadedTrack } from "./upload.js";
export type { UploadSource } from "./upload-source.js";
export type { JobEvent, WatchOptions } from "./watch-job.js";
export type { JobsEvent, WatchJobsOptions } from "./watch-jobs.js";
export type { ReadWaveformOptions, WaveformPixels } from "./waveform-reader.js";
export type { WriteOptions } from "./write-all.js";
