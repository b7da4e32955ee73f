/** Options and values of a StemPlayer. */

import type { Encoding, FrameRange } from "../generated/mismo/analysis/v1/audio.js";
import type { NotReadyReason } from "../generated/mismo/analysis/v1/transfer_service.js";
import type { StartPosition } from "./start-position.js";
import type { CreditOptions } from "./stem-credit.js";

/** Consecutive frames of one stem. */
export interface StemChunk {
  readonly stemIndex: number;
  readonly stemName: string;
  readonly startFrame: number;
  readonly frameCount: number;
  readonly data: Buffer;
  /** Number of the seek that it belongs to, counted from 1; 0 before the first seek. */
  readonly generation: number;
}

/** Why the server has no audio to send at the stream's position. */
export interface NotReady {
  /**
   * From the next frame of the stem that is furthest behind to the next final frame, or to the end of the track;
   * undefined until the track is decoded.
   */
  readonly range: FrameRange | undefined;
  readonly reason: NotReadyReason;
  /** Seconds until the first frame of the range is expected; undefined if unknown. */
  readonly expectedIn: number | undefined;
}

/** What to stream. */
export interface StemStreamOptions extends StartPosition, CreditOptions {
  /** Some of the job's stems; all if empty. */
  stems?: readonly string[];
  /** PCM_S16LE if unset. */
  encoding?: Encoding;
  /** Make the server separate first what this player needs next (false). */
  follow?: boolean;
  /** Most payload bytes of a chunk; unset: the server's default. */
  chunkBytes?: number;
  /** The run that the audio must belong to; unset: the newest. */
  expectedRunId?: string;
  /** Called when the stream starts to wait for audio, and when the range or the reason changes. */
  onNotReady?: (notReady: NotReady) => void;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}
