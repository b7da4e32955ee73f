/** The loop of the open track: its two points, and whether it is on. */

import { loopBetween, loopOfBeats, scaled } from "./loop-region.js";

/** @typedef {import("./loop-region.js").Loop} Loop */

/** Event "change" after each change. */
export class Looper extends EventTarget {
  /** @type {Loop | null} */
  region = null;
  active = false;
  /** @type {number | null} */
  #in = null;

  /** @param {() => {duration: number, beats: readonly number[]}} track as it is known now */
  constructor(track) {
    super();
    this.track = track;
  }

  /** What the player should repeat; null: nothing. */
  get playing() {
    return this.active ? this.region : null;
  }

  /** @param {number} seconds */
  setIn(seconds) {
    this.#in = seconds;
    if (this.region && this.region.end > seconds) this.#set(loopBetween(seconds, this.region.end, ...this.#limits()));
    else this.#set(loopOfBeats(seconds, 8, ...this.#limits()));
  }

  /** @param {number} seconds */
  setOut(seconds) {
    const start = this.region && this.region.start < seconds ? this.region.start : this.#in;
    if (start !== null && start < seconds) this.#set(loopBetween(start, seconds, ...this.#limits()));
  }

  /**
   * @param {number} start seconds
   * @param {number} end
   */
  drag(start, end) {
    const loop = loopBetween(start, end, ...this.#limits());
    if (loop) this.#set(loop);
  }

  /** On or off; makes a loop of 8 beats at the position if there is none. @param {number} seconds */
  toggle(seconds) {
    if (!this.region) {
      this.#set(loopOfBeats(seconds, 8, ...this.#limits()));
      return;
    }
    this.active = !this.active;
    this.dispatchEvent(new Event("change"));
  }

  /** @param {number} factor */
  scale(factor) {
    if (this.region) this.#set(scaled(this.region, factor, this.track().duration));
  }

  clear() {
    this.region = null;
    this.active = false;
    this.#in = null;
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {[number, readonly number[]]} */
  #limits() {
    const { duration, beats } = this.track();
    return [duration, beats];
  }

  /** @param {Loop | null} loop */
  #set(loop) {
    if (!loop) return;
    this.region = loop;
    this.active = true;
    this.dispatchEvent(new Event("change"));
  }
}
