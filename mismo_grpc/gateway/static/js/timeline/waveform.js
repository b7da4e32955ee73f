/** Draws the waveform of a stem, its beats, and where the audio is not there yet. */

import { themeColour } from "../ui/palette.js";
import { firstFrom } from "./beats.js";

/** @typedef {import("./peaks.js").Peaks} Peaks */
/** @typedef {{start: number, pixelsPerSecond: number, width: number, height: number}} Part */

/** Makes quiet passages visible beside loud ones. */
const CURVE = 0.62;

/**
 * The height of a sample value in the picture, 0 to 1.
 * @param {number} value 0 to 1
 * @param {number} loudest the value that fills the picture
 */
export function drawnHeight(value, loudest) {
  return Math.min(1, (value / loudest) ** CURVE);
}

/**
 * The outline of the peaks, faint, and inside it the mean height.
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 * @param {{peaks: Peaks, secondsPerPixel: number, loudest: number, colour: string}} wave
 */
export function drawWaveform(context, part, { peaks, secondsPerPixel, loudest, colour }) {
  const step = 1 / Math.min(2, window.devicePixelRatio || 1);
  const middle = part.height / 2;
  const reach = middle - 3;
  const column = { low: 0, high: 0, body: 0 };
  const outline = new Path2D();
  const body = new Path2D();
  const pixelsPerColumn = step / part.pixelsPerSecond / secondsPerPixel;
  const first = part.start / secondsPerPixel;
  const last = first + (part.width / step) * pixelsPerColumn;
  for (const range of peaks.ready.ranges) {
    if (range.end <= first) continue;
    if (range.start >= last) break;
    const from = Math.max(0, Math.ceil((range.start - first) / pixelsPerColumn - 1));
    const to = Math.min(part.width / step, Math.ceil((range.end - first) / pixelsPerColumn));
    for (let index = from; index < to; index += 1) {
      const start = first + index * pixelsPerColumn;
      peaks.column(start, start + pixelsPerColumn, column);
      const up = drawnHeight(column.high, loudest) * reach;
      const down = drawnHeight(-column.low, loudest) * reach;
      const inner = drawnHeight(column.body * 0.6, loudest) * reach;
      outline.rect(index * step, middle - up - 0.5, step, up + down + 1);
      body.rect(index * step, middle - inner, step, inner * 2);
    }
  }
  context.fillStyle = colour;
  context.globalAlpha = 0.5;
  context.fill(outline);
  context.globalAlpha = 1;
  context.fill(body);
}

/**
 * Lines at beats, stronger ones at downbeats; none where they would be too close together.
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 * @param {{beats: readonly number[], downbeats: readonly number[]}} rhythm
 */
export function drawBeats(context, part, { beats, downbeats }) {
  context.fillStyle = themeColour("--text-3");
  for (const [times, alpha, leastPixels] of /** @type {const} */ ([[beats, 0.16, 9], [downbeats, 0.42, 7]])) {
    if (times.length < 2) continue;
    const spacing = ((times[times.length - 1] - times[0]) / (times.length - 1)) * part.pixelsPerSecond;
    if (spacing < leastPixels) continue;
    context.globalAlpha = alpha;
    const end = part.start + part.width / part.pixelsPerSecond;
    for (let index = firstFrom(times, part.start); index < times.length && times[index] < end; index += 1) {
      context.fillRect(Math.round((times[index] - part.start) * part.pixelsPerSecond), 0, 1, part.height);
    }
  }
  context.globalAlpha = 1;
}

/**
 * A dotted middle line where the stem is not separated yet.
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 * @param {readonly {start: number, end: number}[]} gaps seconds
 */
export function drawGaps(context, part, gaps) {
  context.fillStyle = themeColour("--text-3");
  context.globalAlpha = 0.5;
  const middle = Math.round(part.height / 2);
  for (const gap of gaps) {
    const from = Math.max(0, (gap.start - part.start) * part.pixelsPerSecond);
    const to = Math.min(part.width, (gap.end - part.start) * part.pixelsPerSecond);
    for (let x = Math.ceil(from / 8) * 8; x < to; x += 8) context.fillRect(x, middle, 2, 1);
  }
  context.globalAlpha = 1;
}
