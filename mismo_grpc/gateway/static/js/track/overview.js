/** The whole track in one row: waveform, map of its segments, playhead; click or drag to seek. */

import { clock, spokenTime } from "../format/time.js";
import { drawSegmentMap, drawWholeTrack } from "../timeline/overview-picture.js";
import { sectionColour, sectionName } from "../timeline/ruler.js";
import { workedOn, readyShare } from "../timeline/segments.js";
import { prepared } from "../timeline/tiles.js";
import { fill, h, setAttribute } from "../ui/dom.js";
import { nextFrame, throttled } from "../ui/frames.js";
import { stemVariable, themeColour } from "../ui/palette.js";

const MAP_HEIGHT = 8;

/** Events: "seek" {seconds}. */
export class Overview extends EventTarget {
  #width = 1;
  #dragging = false;

  /**
   * @param {import("./session.js").TrackSession} session
   * @param {(stem: string) => boolean} audible
   */
  constructor(session, audible) {
    super();
    this.session = session;
    this.audible = audible;
    this.wave = h("canvas", { class: "overview-wave", "aria-hidden": "true" });
    this.map = h("canvas", { class: "overview-map", "aria-hidden": "true" });
    this.worked = h("div", { class: "overview-worked", hidden: true });
    this.buffered = h("div", { class: "overview-buffered" });
    this.window = h("div", { class: "overview-window" });
    this.loop = h("div", { class: "overview-loop", hidden: true });
    this.playhead = h("div", { class: "overview-playhead" });
    this.ghost = h("div", { class: "overview-ghost", hidden: true });
    this.sections = h("div", { class: "overview-sections", "aria-hidden": "true", hidden: true });
    this.slider = h("div", {
      class: "overview-slider", role: "slider", tabindex: 0, "aria-label": "Position in the track", "aria-valuemin": 0,
      "aria-valuemax": 0, "aria-valuenow": 0, "aria-valuetext": "0 seconds", "data-testid": "seek",
    }, this.window, this.wave, this.loop, this.map, this.worked, this.buffered, this.ghost, this.playhead);
    this.element = h("section", { class: "overview", "aria-label": "Whole track", "data-testid": "overview" }, this.sections, this.slider);
    this.slider.addEventListener("pointerdown", (event) => this.#press(event));
    this.redraw = throttled(() => nextFrame(() => this.#draw()), 160);
    this.observer = new ResizeObserver(() => {
      this.#width = this.slider.clientWidth || 1;
      nextFrame(() => this.#draw());
    });
    this.observer.observe(this.slider);
  }

  /**
   * Moves what moves.
   * @param {number} seconds
   * @param {import("../timeline/viewport.js").Viewport} viewport
   */
  move(seconds, viewport) {
    const { duration, player } = this.session;
    if (!duration) return;
    const scale = this.#width / duration;
    this.playhead.style.transform = `translateX(${(seconds * scale).toFixed(2)}px)`;
    place(this.window, Math.max(0, viewport.left) * scale, Math.min(duration, viewport.right) * scale);
    const buffered = player?.buffered;
    place(this.buffered, (buffered?.start ?? 0) * scale, (buffered?.end ?? 0) * scale);
    const whole = Math.floor(seconds);
    setAttribute(this.slider, "aria-valuenow", whole);
    setAttribute(this.slider, "aria-valuetext", `${spokenTime(whole)} of ${spokenTime(duration)}`);
    setAttribute(this.slider, "aria-valuemax", Math.floor(duration));
  }

  /**
   * Where the server works, and the loop.
   * @param {number} seconds of the playhead
   * @param {import("../player/loop-region.js").Loop | null} loop
   * @param {boolean} active whether the loop is on
   */
  mark(seconds, loop, active) {
    const { session } = this;
    const scale = this.#width / (session.duration || 1);
    const cell = session.separating
      ? workedOn(session.ready, Math.floor(seconds * session.sampleRate), session.totalFrames, session.stride) : undefined;
    this.worked.hidden = !cell;
    if (cell) place(this.worked, (cell.start / session.sampleRate) * scale, (cell.end / session.sampleRate) * scale);
    this.loop.hidden = !loop;
    this.loop.classList.toggle("on", active);
    if (loop) place(this.loop, loop.start * scale, loop.end * scale);
    const share = Math.round(readyShare(session.ready, session.totalFrames) * 100);
    setAttribute(this.element, "data-ready-percent", share);
  }

  showSections() {
    const { sections, duration } = this.session;
    this.sections.hidden = !sections.length || !duration;
    fill(this.sections, sections.map((/** @type {any} */ section) => {
      const element = h("span", { title: `${sectionName(section)}, ${clock(section.start)}` }, sectionName(section));
      element.style.setProperty("--colour", `var(${sectionColour(section.label)})`);
      element.style.left = `${(section.start / duration) * 100}%`;
      element.style.width = `${((section.end - section.start) / duration) * 100}%`;
      return element;
    }));
  }

  destroy() {
    this.redraw.cancel();
    this.observer.disconnect();
    this.wave.width = 0;
    this.map.width = 0;
  }

  #draw() {
    if (!this.element.isConnected) return;
    const { session } = this;
    const height = Math.max(8, this.slider.clientHeight - MAP_HEIGHT - 4);
    const stems = [...session.peaks].map(([stem, peaks]) => ({ peaks, colour: themeColour(stemVariable(stem)), audible: this.audible(stem) }));
    const context = prepared(this.wave, this.#width, height);
    if (stems.length) drawWholeTrack(context, { width: this.#width, height }, stems, session.loudest);
    drawSegmentMap(prepared(this.map, this.#width, MAP_HEIGHT), { width: this.#width, height: MAP_HEIGHT }, {
      ready: session.ready.ranges, totalFrames: session.totalFrames, stride: session.stride,
    });
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button !== 0 || !this.session.duration || this.#dragging) return;
    this.#dragging = true;
    this.slider.setPointerCapture(event.pointerId);
    const bounds = this.slider.getBoundingClientRect();
    const timeOf = (/** @type {PointerEvent} */ pointer) =>
      (Math.min(Math.max(pointer.clientX - bounds.left, 0), bounds.width - 0.5) / bounds.width) * this.session.duration;
    const show = (/** @type {PointerEvent} */ pointer) => {
      const seconds = timeOf(pointer);
      this.ghost.hidden = false;
      this.ghost.dataset.time = clock(seconds);
      this.ghost.style.transform = `translateX(${(seconds / this.session.duration) * this.#width}px)`;
    };
    const end = (/** @type {PointerEvent} */ pointer) => {
      this.#dragging = false;
      this.ghost.hidden = true;
      this.slider.removeEventListener("pointermove", show);
      this.slider.removeEventListener("pointerup", end);
      this.slider.removeEventListener("pointercancel", end);
      if (pointer.type === "pointerup") this.dispatchEvent(new CustomEvent("seek", { detail: { seconds: timeOf(pointer) } }));
    };
    this.slider.addEventListener("pointermove", show);
    this.slider.addEventListener("pointerup", end);
    this.slider.addEventListener("pointercancel", end);
    show(event);
  }
}

/**
 * Spans an element between two positions.
 * @param {HTMLElement} element
 * @param {number} start CSS pixels
 * @param {number} end
 */
function place(element, start, end) {
  element.style.transform = `translateX(${start.toFixed(2)}px)`;
  element.style.width = `${Math.max(0, end - start).toFixed(2)}px`;
}
