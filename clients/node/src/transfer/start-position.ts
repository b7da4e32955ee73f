/** Where a stream begins: at a frame, or at a time where the sample rate is not known yet. */

import type { Duration } from "../generated/google/protobuf/duration.js";
import { frameAt, toDuration } from "../rpc/durations.js";
import { wholeNumber } from "../rpc/whole-number.js";

/** A place in the track; neither: its start. */
export interface StartPosition {
  /** The first frame (0). With FLAC the audio begins at the FLAC frame that holds it. */
  startFrame?: number;
  /** The same in seconds, rounded down to a frame; instead of `startFrame`. */
  startTime?: number;
}

/** The `start` of a request. */
export type StartField = { $case: "startFrame"; value: number } | { $case: "startTime"; value: Duration };

/** Throws RangeError for both, half a frame, or what is before the track. */
export function startField({ startFrame, startTime }: StartPosition): StartField {
  if (startTime === undefined) return atFrame("startFrame", startFrame ?? 0);
  if (startFrame !== undefined) throw new RangeError("startFrame and startTime exclude each other");
  return atTime("startTime", startTime);
}

/** Throws RangeError naming `name`. */
export function atFrame(name: string, frame: number): StartField {
  if (wholeNumber(name, frame) < 0) throw new RangeError(`${name} must not be negative`);
  return { $case: "startFrame", value: frame };
}

/** Throws RangeError naming `name`. */
export function atTime(name: string, time: number): StartField {
  if (time < 0) throw new RangeError(`${name} must not be negative`);
  return { $case: "startTime", value: toDuration(time) };
}

/** The frame that it means. */
export function frameOf(start: StartField, sampleRate: number): number {
  return start.$case === "startFrame" ? start.value : frameAt(start.value, sampleRate);
}
