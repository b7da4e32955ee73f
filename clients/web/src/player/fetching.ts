/** Decides what a player still needs: where the audio along its way is missing, and how far the server may send. */

import type { Range } from "../ranges.js";

/** The server's permission moves in steps, so that a playing player does not send a credit for each frame. */
const STEP_FRAMES = 1 << 15;
/** The server sends no chunk of fewer bytes than 4096, so that the last frames before a limit would not come. */
const SLACK_FRAMES = 1 << 13;

/** What a player plays next. */
export interface Way {
  /** Frame that plays or will play. */
  readonly position: number;
  readonly totalFrames: number;
  readonly loop: Range | undefined;
  /** Frames that are fetched ahead. */
  readonly window: number;
}

/** Where audio is missing, and up to where it should come. */
export interface Missing {
  readonly frame: number;
  readonly until: number;
}

/** Returns the stretches of the track in the order in which they play. */
export function stretches({ position, totalFrames, loop, window }: Way): Range[] {
  if (loop === undefined || position >= loop.end) {
    return [{ start: position, end: Math.min(totalFrames, stepped(position + window)) }];
  }
  const first = { start: position, end: Math.min(loop.end, stepped(position + window)) };
  const left = window - (first.end - first.start);
  if (first.end < loop.end || left <= 0) return [first];
  return [first, { start: loop.start, end: Math.min(loop.end, stepped(loop.start + left)) }];
}

/** Returns the first gap along the way; undefined if there is none. `endFrom` gives the end of what is there. */
export function missing(way: Way, endFrom: (frame: number) => number): Missing | undefined {
  for (const { start, end } of stretches(way)) {
    const frame = endFrom(start);
    if (frame < end) return { frame, until: Math.min(way.totalFrames, end + SLACK_FRAMES) };
  }
  return undefined;
}

function stepped(frame: number): number {
  return Math.ceil(frame / STEP_FRAMES) * STEP_FRAMES;
}
