/** Start of a stream: a frame, or a time for callers that do not know the sample rate yet. */

import type { Duration } from "../generated/google/protobuf/duration.js";
import { frameAt, toDuration } from "../rpc/durations.js";
import { wholeNumber } from "../rpc/whole-number.js";

/** A position in the track; its start if neither is set. */
export interface StartPosition {
  /** The first frame (0). FLAC audio begins at the FLAC frame that contains it. */
  startFrame?: number;
  /** Start in seconds, rounded down to a frame; excludes `startFrame`. */
  startTime?: number;
}

/** The field `start` of a request. */
export type StartField = { $case: "startFrame"; value: number } | { $case: "startTime"; value: Duration };

/** Throws RangeError if both are set, for a fraction of a frame, and for a negative position. */
export function startField({ startFrame, startTime }: StartPosition): StartField {
  if (startTime === undefined) return atFrame("startFrame", startFrame ?? 0);
  if (startFrame !== undefined) throw new RangeError("startFrame and startTime exclude each other");
  return atTime("startTime", startTime);
}

/** Throws RangeError with `name` unless `frame` is an integer of at least 0. */
export function atFrame(name: string, frame: number): StartField {
  if (wholeNumber(name, frame) < 0) throw new RangeError(`${name} must not be negative`);
  return { $case: "startFrame", value: frame };
}

/** Throws RangeError, for a negative time with `name`. */
export function atTime(name: string, time: number): StartField {
  if (time < 0) throw new RangeError(`${name} must not be negative`);
  return { $case: "startTime", value: toDuration(time) };
}

/** Converts a start to a frame. */
export function frameOf(start: StartField, sampleRate: number): number {
  return start.$case === "startFrame" ? start.value : frameAt(start.value, sampleRate);
}
