/** Draws the whole track: the stems over each other, and the map of its segments. */

import { themeColour } from "../ui/palette.js";
import { drawnHeight } from "./waveform.js";

/**
 * The stems over each other, the loudest of each column behind the others.
 * @param {CanvasRenderingContext2D} context
 * @param {{width: number, height: number}} size
 * @param {readonly {peaks: import("./peaks.js").Peaks, colour: string, audible: boolean}[]} stems
 * @param {number} loudest
 */
export function drawWholeTrack(context, { width, height }, stems, loudest) {
  const step = 1 / Math.min(2, window.devicePixelRatio || 1);
  const columns = Math.ceil(width / step);
  const middle = height / 2;
  const column = { low: 0, high: 0, body: 0 };
  const heights = stems.map(({ colour, audible }) => ({ value: 0, colour, alpha: audible ? 0.9 : 0.22 }));
  for (let index = 0; index < columns; index += 1) {
    stems.forEach(({ peaks }, place) => {
      const start = (index / columns) * peaks.totalPixels;
      peaks.column(start, start + peaks.totalPixels / columns, column);
      heights[place].value = Math.max(column.high, -column.low);
      heights[place].colour = stems[place].colour;
      heights[place].alpha = stems[place].audible ? 0.9 : 0.22;
    });
    const order = heights.slice().sort((a, b) => b.value - a.value);
    for (const { value, colour, alpha } of order) {
      if (value <= 0) continue;
      const reach = drawnHeight(value, loudest) * (middle - 1);
      context.globalAlpha = alpha;
      context.fillStyle = colour;
      context.fillRect(index * step, middle - reach, step, reach * 2);
    }
  }
  context.globalAlpha = 1;
}

/**
 * The segments as cells: filled where the stems are ready.
 * @param {CanvasRenderingContext2D} context
 * @param {{width: number, height: number}} size
 * @param {{ready: readonly {start: number, end: number}[], totalFrames: number, stride: number}} map frames
 */
export function drawSegmentMap(context, { width, height }, { ready, totalFrames, stride }) {
  const scale = width / Math.max(1, totalFrames);
  context.fillStyle = themeColour("--surface-3");
  context.fillRect(0, 0, width, height);
  context.fillStyle = themeColour("--good");
  for (const range of ready) {
    const start = range.start * scale;
    context.fillRect(start, 0, Math.max(1, range.end * scale - start), height);
  }
  if (stride * scale < 5) return;
  context.fillStyle = themeColour("--bg");
  for (let frame = stride; frame < totalFrames; frame += stride) context.fillRect(Math.round(frame * scale), 0, 1, height);
}
