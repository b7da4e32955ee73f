/** Which part of the track the zoomed view shows. */

const MOST_PIXELS_PER_SECOND = 400;

export class Viewport {
  /** @param {number} duration seconds */
  constructor(duration) {
    this.duration = Math.max(0.001, duration);
    this.width = 1;
    /** Seconds at the left edge; may be below 0, so that the start of the track can be in the middle. */
    this.left = 0;
    this.pixelsPerSecond = 40;
  }

  /** Seconds at the right edge. */
  get right() {
    return this.left + this.span;
  }

  /** Seconds from edge to edge. */
  get span() {
    return this.width / this.pixelsPerSecond;
  }

  get centre() {
    return this.left + this.span / 2;
  }

  /** The smallest zoom: the whole track fills the view. */
  get leastPixelsPerSecond() {
    return this.width / this.duration;
  }

  /** @param {number} width CSS pixels */
  resize(width) {
    const centre = this.centre;
    this.width = Math.max(1, width);
    this.pixelsPerSecond = this.#allowed(this.pixelsPerSecond);
    this.centreOn(centre);
  }

  /** @param {number} seconds */
  centreOn(seconds) {
    this.left = seconds - this.span / 2;
  }

  /** @param {number} seconds */
  moveTo(seconds) {
    const slack = this.span / 2;
    this.left = Math.min(Math.max(seconds, -slack), Math.max(-slack, this.duration - slack));
  }

  /**
   * Zooms; the time at `x` stays where it is.
   * @param {number} factor above 1: closer
   * @param {number} x CSS pixels from the left edge
   */
  zoom(factor, x = this.width / 2) {
    const fixed = this.timeAt(x);
    this.pixelsPerSecond = this.#allowed(this.pixelsPerSecond * factor);
    this.left = fixed - x / this.pixelsPerSecond;
  }

  /** @param {number} x CSS pixels from the left edge */
  timeAt(x) {
    return this.left + x / this.pixelsPerSecond;
  }

  /** @param {number} seconds */
  xOf(seconds) {
    return (seconds - this.left) * this.pixelsPerSecond;
  }

  /**
   * Turns the page when the playhead leaves it.
   * @param {number} seconds
   */
  pageTo(seconds) {
    if (seconds < this.left || seconds >= this.right) this.left = seconds - this.span * 0.05;
  }

  /** @param {number} pixelsPerSecond */
  #allowed(pixelsPerSecond) {
    return Math.min(MOST_PIXELS_PER_SECOND, Math.max(Math.min(this.leastPixelsPerSecond, MOST_PIXELS_PER_SECOND), pixelsPerSecond));
  }
}
