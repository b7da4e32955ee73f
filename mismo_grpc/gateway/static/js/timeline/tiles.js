/** A row of the zoomed view as tiles: drawn once, then only moved, so that scrolling costs no drawing. */

import { h } from "../ui/dom.js";

const TILE_WIDTH = 480;

/**
 * Draws a part of a row; the context's unit is the CSS pixel.
 * @callback DrawTile
 * @param {CanvasRenderingContext2D} context
 * @param {{start: number, pixelsPerSecond: number, width: number, height: number}} part start: seconds at its left edge
 */

/** @typedef {{canvas: HTMLCanvasElement, index: number, dirty: boolean}} Tile */

export class TileRow {
  /** @type {Map<number, Tile>} */
  #tiles = new Map();
  /** @type {Tile[]} */
  #spare = [];
  #pixelsPerSecond = 0;
  #height = 0;
  #ratio = 1;

  /**
   * @param {HTMLElement} element
   * @param {DrawTile} draw
   */
  constructor(element, draw) {
    this.element = element;
    this.draw = draw;
  }

  /**
   * Shows a part of the track; draws what was not drawn yet.
   * @param {import("./viewport.js").Viewport} viewport
   * @param {number} height CSS pixels
   */
  show(viewport, height) {
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    if (viewport.pixelsPerSecond !== this.#pixelsPerSecond || height !== this.#height || ratio !== this.#ratio) {
      this.#pixelsPerSecond = viewport.pixelsPerSecond;
      this.#height = height;
      this.#ratio = ratio;
      this.invalidate();
    }
    const left = Math.round(viewport.left * viewport.pixelsPerSecond * ratio) / ratio;
    const last = Math.ceil(viewport.duration * viewport.pixelsPerSecond / TILE_WIDTH) - 1;
    const from = Math.max(0, Math.floor(left / TILE_WIDTH));
    const to = Math.min(last, Math.floor((left + viewport.width) / TILE_WIDTH));
    for (const tile of [...this.#tiles.values()]) if (tile.index < from || tile.index > to) this.#release(tile);
    for (let index = from; index <= to; index += 1) {
      const tile = this.#tiles.get(index) ?? this.#take(index);
      if (tile.dirty) this.#paint(tile);
      tile.canvas.style.transform = `translateX(${index * TILE_WIDTH - left}px)`;
    }
  }

  /**
   * Marks what shows a span of seconds as out of date; without a span all.
   * @param {number} [start]
   * @param {number} [end]
   */
  invalidate(start = -Infinity, end = Infinity) {
    for (const tile of this.#tiles.values()) {
      const first = (tile.index * TILE_WIDTH - 1) / this.#pixelsPerSecond;
      const last = ((tile.index + 1) * TILE_WIDTH + 1) / this.#pixelsPerSecond;
      if (first < end && last > start) tile.dirty = true;
    }
  }

  /** Frees the canvases. */
  destroy() {
    for (const tile of [...this.#tiles.values(), ...this.#spare]) {
      // Safari keeps the memory of a canvas until it is collected, unless its size is 0.
      tile.canvas.width = 0;
      tile.canvas.remove();
    }
    this.#tiles.clear();
    this.#spare = [];
  }

  /** @param {number} index */
  #take(index) {
    const tile = this.#spare.pop() ?? { canvas: h("canvas", { class: "tile", "aria-hidden": "true" }), index, dirty: true };
    tile.index = index;
    tile.dirty = true;
    this.#tiles.set(index, tile);
    this.element.append(tile.canvas);
    return tile;
  }

  /** @param {Tile} tile */
  #release(tile) {
    this.#tiles.delete(tile.index);
    tile.canvas.remove();
    if (this.#spare.length < 2) this.#spare.push(tile);
    else tile.canvas.width = 0;
  }

  /** @param {Tile} tile */
  #paint(tile) {
    tile.dirty = false;
    const context = prepared(tile.canvas, TILE_WIDTH, this.#height, this.#ratio);
    const start = (tile.index * TILE_WIDTH) / this.#pixelsPerSecond;
    this.draw(context, { start, pixelsPerSecond: this.#pixelsPerSecond, width: TILE_WIDTH, height: this.#height });
  }
}

/**
 * An empty canvas of this size whose unit is the CSS pixel.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width CSS pixels
 * @param {number} height CSS pixels
 * @param {number} [ratio] device pixels of a CSS pixel
 */
export function prepared(canvas, width, height, ratio = Math.min(3, window.devicePixelRatio || 1)) {
  const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
