/**
 * Client of the analysis server: submits tracks, watches jobs, and plays stems while they are separated.
 *
 * Jobs, models and stages are the messages of `mismo.analysis.v1`. README.md has examples.
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
  type Source,
  type StemSetInfo,
  type StoredBlob,
} from "./generated/mismo/analysis/v1/job.js";
export {
  type BasicFeaturesResult,
  type CharacteristicsResult,
  type Chord,
  type ChordsResult,
  type CuePair,
  type CuePoint,
  type GenreResult,
  type Key,
  KeyMode,
  KeyRelation,
  type ScoredLabel,
  type Section,
  SectionRole,
  type SectionsResult,
  type TempoPoint,
  type TrackComparison,
  type TransitionResult,
} from "./generated/mismo/analysis/v1/results.js";
export {
  type BlobUploadOptions,
  ExportFormat,
  type ExportOptions,
  type GenerationOptions,
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
  type CreateBlobLinkResponse as BlobLink,
  type GetUploadResponse as UploadState,
  NotReadyReason,
  type WaveformInfo,
} from "./generated/mismo/analysis/v1/transfer_service.js";

export {
  type ArtifactRead,
  type ChangeOptions,
  connect,
  MismoClient,
  type UploadOptions,
} from "./client.js";
export type { HeartbeatOptions } from "./heartbeat.js";
export {
  type AnyJobOptions,
  type GenerateOptions,
  type JobSource,
  type JobUpdate,
  type ListOptions,
  loudnessOf,
  resultOf,
  type SeparationOptions,
  type StageResults,
  type SubmitOptions,
  type Submitted,
} from "./jobs.js";
export type { UnaryOptions } from "./rpc/connection.js";
export {
  ChecksumError,
  JobFailedError,
  MismoError,
  RunReplacedError,
  SeekRefusedError,
  SourceChangedError,
  StreamCorruptError,
} from "./rpc/errors.js";
export { ClosableIterator } from "./rpc/lifetime.js";
export type { ConnectOptions } from "./rpc/options.js";
export type { OnRetry, RetryPolicy } from "./rpc/retry.js";
export type { FieldViolation } from "./rpc/status-details.js";
export type { ArtifactOptions, OnBytes } from "./transfer/artifact-reader.js";
export { crc32c } from "./transfer/crc32c.js";
export type { AppliedSeek } from "./transfer/pending-seeks.js";
export type { StartPosition } from "./transfer/start-position.js";
export type { CreditOptions } from "./transfer/stem-credit.js";
export { frameBytes, type PcmFormat, type StemFormat, wavHeader } from "./transfer/stem-format.js";
export { StemPlayer } from "./transfer/stem-player.js";
export type { ReadChunk, ReadStemOptions } from "./transfer/stem-reader.js";
export type { NotReady, StemChunk, StemStreamOptions } from "./transfer/stem-stream.js";
export type { UploadSource } from "./transfer/upload-source.js";
export type { UploadedTrack } from "./transfer/upload.js";
export type { ReadWaveformOptions, WaveformPixels } from "./transfer/waveform-reader.js";
export type { WriteOptions } from "./transfer/write-all.js";
export type { StemRead } from "./transfer/write-stem.js";
export type { JobEvent, WatchOptions } from "./watch-job.js";
export type { JobsEvent, WatchJobsOptions } from "./watch-jobs.js";
