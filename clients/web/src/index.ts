/** The client of mismo_grpc for browsers. */

export { Code, type Client } from "@connectrpc/connect";
export { create, fromJson, toJson } from "@bufbuild/protobuf";
export { MismoClient, type ClientOptions } from "./client.js";
export { errorOf, MismoError, NETWORK } from "./rpc/errors.js";
export { WEBSOCKET_REFUSED } from "./rpc/refusal.js";
export { JobsWatch, type JobsWatchEvents, type JobsWatchOptions, type ConnectionDetail } from "./jobs/jobs-watch.js";
export { JobWatch, type JobWatchEvents, type JobWatchOptions } from "./jobs/job-watch.js";
export { uploadFile, type UploadOptions } from "./upload.js";
export { watchWaveform, type WaveformInfo, type WaveformOptions, type WaveformRange } from "./waveform.js";
export { StemStream, type StemEvent, type StemStreamOptions, type WaitReason } from "./stems/stem-stream.js";
export type { TrackInfo } from "./stems/track-info.js";
export { StemPlayer } from "./player/stem-player.js";
export type { NotReadyDetail, PlayerState, StemPlayerEvents, StemPlayerOptions } from "./player/player-types.js";
export type { StemChannel } from "./player/stem-channel.js";
export { type Range, RangeSet } from "./ranges.js";
export * from "./generated/mismo/analysis/v1/audio_pb.js";
export * from "./generated/mismo/analysis/v1/job_pb.js";
export * from "./generated/mismo/analysis/v1/job_service_pb.js";
export * from "./generated/mismo/analysis/v1/results_pb.js";
export * from "./generated/mismo/analysis/v1/stage_pb.js";
export * from "./generated/mismo/analysis/v1/system_service_pb.js";
export * from "./generated/mismo/analysis/v1/transfer_service_pb.js";
