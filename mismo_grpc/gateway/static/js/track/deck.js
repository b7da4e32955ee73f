/** The zoomed view: ruler, sections, chords, and a lane with a channel strip for each stem. */

import { chordSymbol } from "../format/chords.js";
import { clock } from "../format/time.js";
import { stemLabel } from "../format/names.js";
import { spanAt } from "../timeline/beats.js";
import { drawChords, drawSections, drawTicks, sectionName } from "../timeline/ruler.js";
import { TileRow } from "../timeline/tiles.js";
import { Viewport } from "../timeline/viewport.js";
import { drawBeats, drawGaps, drawWaveform } from "../timeline/waveform.js";
import { h, setText } from "../ui/dom.js";
import { stemVariable, themeColour } from "../ui/palette.js";
import { ChannelStrip } from "./strip.js";
import { startDeckPointer } from "./deck-pointer.js";

const RULER_HEIGHT = 34;
const MARK_HEIGHT = 22;

/** Events: "seek" {seconds}, "loop" {start, end} in seconds, "mix" (mute, solo, volume or pan
 * changed), "follow", "view" (the view has moved). */
export class Deck extends EventTarget {
  /** @type {Map<string, ChannelStrip>} */
  strips = new Map();
  /** @type {{element: HTMLElement, row: TileRow}[]} */
  #rows = [];
  #laneHeight = 84;
  /** Whether the view goes with the playhead. */
  follow = true;

  /**
   * @param {import("./session.js").TrackSession} session
   * @param {readonly string[]} stems
   */
  constructor(session, stems) {
    super();
    this.session = session;
    this.viewport = new Viewport(session.duration);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.ruler = this.#row("ruler", (context, part) => drawTicks(context, part, session.rhythm.downbeats, session.duration));
    this.sections = this.#row("sections", (context, part) => drawSections(context, part, session.sections));
    this.chords = this.#row("chords", (context, part) => drawChords(context, part, session.chords));
    const lanes = stems.flatMap((stem, index) => this.#lane(stem, index));
    this.sectionNow = h("strong");
    this.chordNow = h("strong");
    this.playhead = h("div", { class: "deck-playhead" });
    this.loop = h("div", { class: "deck-loop", hidden: true });
    this.cursor = h("div", { class: "deck-cursor", hidden: true });
    this.wait = h("p", { class: "deck-wait", hidden: true });
    this.overlay = h("div", { class: "deck-overlay", "aria-hidden": "true" }, this.loop, this.cursor, this.playhead, this.wait);
    this.element = h("section", { class: "deck", "aria-label": "Stems", "data-testid": "deck" },
      h("div", { class: "deck-corner", "aria-hidden": "true" }), this.ruler.element,
      h("div", { class: "deck-corner deck-note", "data-testid": "section-now" }, "Section", this.sectionNow), this.sections.element,
      h("div", { class: "deck-corner deck-note", "data-testid": "chord-now" }, "Chord", this.chordNow), this.chords.element,
      ...lanes, this.overlay);
    this.element.style.setProperty("--stems", String(stems.length));
    startDeckPointer(this);
    this.observer = new ResizeObserver(() => this.#measure());
    this.observer.observe(this.element);
    this.observer.observe(this.ruler.element);
    this.showMarks();
  }

  /** Shows the rows for which there are results. */
  showMarks() {
    for (const [row, marks] of /** @type {const} */ ([[this.sections, this.session.sections], [this.chords, this.session.chords]])) {
      row.element.hidden = !marks.length;
      const note = /** @type {HTMLElement} */ (row.element.previousElementSibling);
      if (note) note.hidden = !marks.length;
    }
    this.invalidate();
  }

  /**
   * @param {number} [start] seconds
   * @param {number} [end]
   */
  invalidate(start, end) {
    for (const { row } of this.#rows) row.invalidate(start, end);
  }

  /**
   * Shows the track around a position.
   * @param {number} seconds of the playhead
   */
  move(seconds) {
    if (this.viewport.width <= 1) return;
    if (this.follow) {
      if (this.still.matches) this.viewport.pageTo(seconds);
      else this.viewport.centreOn(seconds);
    }
    for (const { element, row } of this.#rows) if (!element.hidden) row.show(this.viewport, this.#heightOf(element));
    this.playhead.style.transform = `translateX(${this.viewport.xOf(seconds).toFixed(2)}px)`;
    const section = spanAt(this.session.sections, seconds);
    const chord = spanAt(this.session.chords, seconds);
    setText(this.sectionNow, section ? sectionName(section) : "");
    setText(this.chordNow, chord ? chordSymbol(chord.label) : "");
  }

  /**
   * @param {import("../player/loop-region.js").Loop | null} loop
   * @param {boolean} active
   */
  showLoop(loop, active) {
    this.loop.hidden = !loop;
    this.loop.classList.toggle("on", active);
    if (!loop) return;
    const left = Math.max(-4, this.viewport.xOf(loop.start));
    const right = Math.min(this.viewport.width + 4, this.viewport.xOf(loop.end));
    this.loop.style.transform = `translateX(${left.toFixed(2)}px)`;
    this.loop.style.width = `${Math.max(0, right - left).toFixed(2)}px`;
  }

  /** Says beside the playhead why there is no sound yet. @param {string} text empty: there is */
  showWait(text) {
    this.wait.hidden = !text;
    setText(this.wait, text);
  }

  /** @param {boolean} follow */
  setFollow(follow) {
    if (this.follow === follow) return;
    this.follow = follow;
    this.dispatchEvent(new Event("follow"));
  }

  /**
   * @param {number} factor
   * @param {number} [x]
   */
  zoom(factor, x) {
    this.viewport.zoom(factor, x);
  }

  /** @param {number} x CSS pixels in the ruler; negative: nowhere */
  showCursor(x) {
    this.cursor.hidden = x < 0;
    if (x < 0) return;
    this.cursor.style.transform = `translateX(${x}px)`;
    this.cursor.dataset.time = clock(Math.max(0, this.viewport.timeAt(x)), { tenths: true });
  }

  /** Stems that can be heard, as the buttons say. @param {string} stem */
  audible(stem) {
    const strips = [...this.strips.values()];
    const settings = this.strips.get(stem)?.settings;
    if (!settings) return true;
    return strips.some((strip) => strip.settings.soloed) ? settings.soloed : !settings.muted;
  }

  destroy() {
    this.observer.disconnect();
    for (const { row } of this.#rows) row.destroy();
    this.#rows = [];
  }

  /**
   * @param {string} name
   * @param {import("../timeline/tiles.js").DrawTile} draw
   */
  #row(name, draw) {
    const element = h("div", { class: `deck-row deck-${name}`, "data-testid": `row-${name}` });
    const row = new TileRow(element, draw);
    this.#rows.push({ element, row });
    return { element, row };
  }

  /**
   * @param {string} stem
   * @param {number} index
   */
  #lane(stem, index) {
    const { session } = this;
    const strip = new ChannelStrip(stem, index + 1);
    this.strips.set(stem, strip);
    const { element } = this.#row("lane", (context, part) => {
      drawBeats(context, part, session.rhythm);
      const end = part.start + part.width / part.pixelsPerSecond;
      const rate = session.sampleRate;
      const gaps = session.ready.gaps(Math.max(0, Math.floor(part.start * rate)), Math.min(session.totalFrames, Math.ceil(end * rate)));
      drawGaps(context, part, gaps.map((gap) => ({ start: gap.start / rate, end: gap.end / rate })));
      const peaks = session.peaks.get(stem);
      if (!peaks) return;
      drawWaveform(context, part, {
        peaks, secondsPerPixel: session.secondsPerPixel, loudest: session.loudest, colour: themeColour(stemVariable(stem)),
      });
    });
    element.dataset.stem = stem;
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", `Waveform of ${stemLabel(stem)}`);
    strip.addEventListener("change", () => {
      for (const [name, lane] of this.#lanes()) lane.classList.toggle("silent", !this.audible(name));
      this.dispatchEvent(new Event("mix"));
    });
    return [strip.element, element];
  }

  /** @returns {[string, HTMLElement][]} */
  #lanes() {
    return this.#rows.flatMap(({ element }) => (element.dataset.stem ? [[element.dataset.stem, element]] : []));
  }

  /** @param {HTMLElement} element */
  #heightOf(element) {
    if (element === this.ruler.element) return RULER_HEIGHT;
    return element === this.sections.element || element === this.chords.element ? MARK_HEIGHT : this.#laneHeight;
  }

  #measure() {
    const first = !this.viewport || this.viewport.width <= 1;
    this.viewport.resize(this.ruler.element.clientWidth);
    if (first) this.viewport.pixelsPerSecond = Math.max(this.viewport.leastPixelsPerSecond, this.viewport.width / 20);
    this.#laneHeight = this.#lanes()[0]?.[1].clientHeight || 84;
    this.overlay.style.left = `${this.ruler.element.offsetLeft}px`;
    this.dispatchEvent(new Event("view"));
  }
}
