/** The arithmetic of loops, in seconds. */

import { firstFrom, nearest } from "../timeline/beats.js";

/** @typedef {{start: number, end: number}} Loop */

export const SHORTEST_LOOP = 0.05;

/**
 * A loop between two points, in any order, inside the track and on beats if there are any near.
 * @param {number} a
 * @param {number} b
 * @param {number} duration
 * @param {readonly number[]} beats
 * @returns {Loop | null} null: too short
 */
export function loopBetween(a, b, duration, beats = []) {
  const inside = (/** @type {number} */ time) => Math.min(Math.max(time, 0), duration);
  const [first, last] = a < b ? [inside(a), inside(b)] : [inside(b), inside(a)];
  const start = inside(snapped(first, beats));
  let end = inside(snapped(last, beats));
  if (end <= start && last > first) end = inside(beats[firstFrom(beats, start + 1e-6)] ?? last);
  return end - start >= SHORTEST_LOOP ? { start, end } : null;
}

/**
 * The beat near a time; the time itself if beats are further apart than a beat can be (no beat found around here).
 * @param {number} time
 * @param {readonly number[]} beats
 */
export function snapped(time, beats) {
  const beat = nearest(beats, time);
  return Math.abs(beat - time) <= 1 ? beat : time;
}

/**
 * A loop of as many beats, from the beat at or before a time; of as many seconds halved if there are no beats.
 * @param {number} time
 * @param {number} count beats
 * @param {number} duration
 * @param {readonly number[]} beats
 * @returns {Loop | null}
 */
export function loopOfBeats(time, count, duration, beats = []) {
  if (!beats.length) return loopBetween(time, time + count / 2, duration);
  const first = Math.max(0, firstFrom(beats, time + 0.03) - 1);
  const end = beats[first + count] ?? duration;
  return loopBetween(beats[first], end, duration);
}

/**
 * Half or twice as long, from the same start.
 * @param {Loop} loop
 * @param {number} factor
 * @param {number} duration
 * @returns {Loop}
 */
export function scaled(loop, factor, duration) {
  const length = Math.max(SHORTEST_LOOP, (loop.end - loop.start) * factor);
  return { start: loop.start, end: Math.min(duration, loop.start + length) };
}
