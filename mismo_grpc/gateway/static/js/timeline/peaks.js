/** The peaks of one stem, which arrive in ranges and in any order, at two resolutions. */

import { RangeSet } from "./ranges.js";

const COARSE = 32;

/** @typedef {{low: number, high: number, body: number}} Column from -1 to 1; body: the mean height, 0 to 1 */

export class Peaks {
  /** @param {number} totalPixels */
  constructor(totalPixels) {
    this.totalPixels = totalPixels;
    this.ready = new RangeSet();
    this.low = new Int16Array(totalPixels);
    this.high = new Int16Array(totalPixels);
    const coarse = Math.ceil(totalPixels / COARSE);
    this.coarseLow = new Int16Array(coarse);
    this.coarseHigh = new Int16Array(coarse);
    this.coarseBody = new Int16Array(coarse);
    this.greatest = 0;
  }

  /**
   * Stores the peaks of consecutive pixels.
   * @param {number} startPixel
   * @param {Int16Array} min
   * @param {Int16Array} max
   */
  write(startPixel, min, max) {
    const count = Math.min(min.length, max.length, this.totalPixels - startPixel);
    if (startPixel < 0 || count <= 0) return;
    this.low.set(min.subarray(0, count), startPixel);
    this.high.set(max.subarray(0, count), startPixel);
    this.ready.add(startPixel, startPixel + count);
    const last = Math.ceil((startPixel + count) / COARSE);
    for (let cell = Math.floor(startPixel / COARSE); cell < last; cell += 1) this.#summarise(cell);
  }

  /**
   * What to draw for a span of pixels.
   * @param {number} start pixels, may be fractional
   * @param {number} end
   * @param {Column} column is filled in
   */
  column(start, end, column) {
    const first = Math.max(0, Math.floor(start));
    const last = Math.min(this.totalPixels, Math.max(first + 1, Math.ceil(end)));
    if (last - first >= COARSE * 2) {
      this.#coarseColumn(Math.floor(first / COARSE), Math.ceil(last / COARSE), column);
      return;
    }
    let low = 0;
    let high = 0;
    let sum = 0;
    for (let pixel = first; pixel < last; pixel += 1) {
      if (this.low[pixel] < low) low = this.low[pixel];
      if (this.high[pixel] > high) high = this.high[pixel];
      sum += this.high[pixel] - this.low[pixel];
    }
    column.low = low / 32768;
    column.high = high / 32768;
    column.body = last > first ? sum / (last - first) / 65536 : 0;
  }

  /**
   * @param {number} first
   * @param {number} last
   * @param {Column} column
   */
  #coarseColumn(first, last, column) {
    let low = 0;
    let high = 0;
    let sum = 0;
    for (let cell = first; cell < last; cell += 1) {
      if (this.coarseLow[cell] < low) low = this.coarseLow[cell];
      if (this.coarseHigh[cell] > high) high = this.coarseHigh[cell];
      sum += this.coarseBody[cell];
    }
    column.low = low / 32768;
    column.high = high / 32768;
    column.body = sum / Math.max(1, last - first) / 32768;
  }

  /** @param {number} cell */
  #summarise(cell) {
    const first = cell * COARSE;
    const last = Math.min(first + COARSE, this.totalPixels);
    let low = 0;
    let high = 0;
    let sum = 0;
    for (let pixel = first; pixel < last; pixel += 1) {
      low = Math.min(low, this.low[pixel]);
      high = Math.max(high, this.high[pixel]);
      sum += this.high[pixel] - this.low[pixel];
    }
    this.coarseLow[cell] = low;
    this.coarseHigh[cell] = high;
    this.coarseBody[cell] = Math.min(32767, sum / (last - first) / 2);
    this.greatest = Math.max(this.greatest, -low, high);
  }
}

/**
 * Frames of a pixel: fine enough for the closest zoom, and few enough for a long track.
 * @param {number} totalFrames
 */
export function framesPerPixelFor(totalFrames) {
  let frames = 256;
  while (totalFrames / frames > 400_000) frames *= 2;
  return frames;
}
