/** What a StemPlayer takes and tells. */

import type { MismoError } from "../rpc/errors.js";
import type { WaitReason } from "../stems/stem-stream.js";

/** What a player does. */
export type PlayerState = "opening" | "buffering" | "playing" | "paused" | "ended" | "failed";

/** Why the next audio is not there. */
export interface NotReadyDetail {
  reason: WaitReason;
  /** Seconds until it is expected; undefined while unknown. */
  expectedSeconds: number | undefined;
}

/** Details of the events of a StemPlayer. */
export interface StemPlayerEvents {
  statechange: { state: PlayerState };
  /** The server waits for audio of the job; undefined once it comes. */
  notready: NotReadyDetail | undefined;
  /** After a seek, what follows the new position is there. */
  seeked: { time: number };
  /** The connection was lost; what is buffered plays on, and the player connects again by itself. */
  connection: { state: "open" | "lost"; error?: MismoError };
  /** The stream has failed for good: JOB_NOT_FOUND, RUN_REPLACED, the job's own error. What is buffered plays on. */
  error: { error: MismoError };
  ended: undefined;
}

/** Options of a StemPlayer. */
export interface StemPlayerOptions {
  jobId: string;
  /** The run; by default the newest. */
  runId?: string;
  /** By default one of the player's own, at the track's sample rate. A context of another rate is refused. */
  audioContext?: AudioContext;
  /** Seconds of audio to hold ahead (30). */
  windowSeconds?: number;
  /** Seconds that must be there before playing begins (0.2). */
  startSeconds?: number;
}
