/** What a player knows of a track. */

import type { StreamInfo } from "../generated/mismo/analysis/v1/transfer_service_pb.js";

/** The form of a track's stems. */
export interface TrackInfo {
  readonly jobId: string;
  readonly runId: string;
  /** The model that separates the track. */
  readonly model: string;
  readonly stemNames: readonly string[];
  /** Hz. */
  readonly sampleRate: number;
  readonly channels: number;
  readonly totalFrames: number;
  /** Frames of one segment of the model; 0 if unknown. */
  readonly segmentFrames: number;
  /** Seconds. */
  readonly duration: number;
}

/** Reads the first message of a stream. */
export function trackInfo(info: StreamInfo): TrackInfo {
  const { jobId, runId, model, stemNames, sampleRate, channels } = info;
  const [totalFrames, segmentFrames] = [Number(info.totalFrames), Number(info.segmentFrames)];
  const duration = totalFrames / sampleRate;
  return { jobId, runId, model, stemNames, sampleRate, channels, totalFrames, segmentFrames, duration };
}
