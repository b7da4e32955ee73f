/** The segments of a track: what of them is ready, and which one is worked on. */

/** @typedef {import("./ranges.js").RangeSet} RangeSet */

const DEFAULT_OVERLAP = 0.25;

/**
 * Frames from the start of one segment to the start of the next.
 * @param {number} segmentFrames
 * @param {number | undefined} overlap 0 to 0.95
 */
export function strideOf(segmentFrames, overlap) {
  return Math.max(1, Math.floor(segmentFrames * (1 - (overlap ?? DEFAULT_OVERLAP))));
}

/**
 * The part of the track that the server works on: the first that is missing from the playhead on, or else from the start
 * of the track. Undefined once nothing is missing.
 * @param {RangeSet} ready frames
 * @param {number} playhead frames
 * @param {number} totalFrames
 * @param {number} stride frames
 */
export function workedOn(ready, playhead, totalFrames, stride) {
  const gap = ready.gaps(Math.min(playhead, totalFrames), totalFrames)[0] ?? ready.gaps(0, totalFrames)[0];
  if (!gap) return undefined;
  // A range that ends a little before the next segment begins belongs to that.
  const cell = Math.floor(gap.start / stride + 0.05);
  return { start: gap.start, end: Math.min((cell + 1) * stride, gap.end, totalFrames) };
}

/**
 * How much of the track is ready, 0 to 1.
 * @param {RangeSet} ready
 * @param {number} totalFrames
 */
export function readyShare(ready, totalFrames) {
  return totalFrames > 0 ? Math.min(1, ready.length / totalFrames) : 0;
}
