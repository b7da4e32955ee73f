/** The channel strip of a stem: mute, solo, volume, pan, level. */

import { stemLabel } from "../format/names.js";
import { h, setAttribute } from "../ui/dom.js";
import { stemVariable } from "../ui/palette.js";

/** The lowest level that the meter shows, dBFS. */
const FLOOR_DB = -54;
/** How fast the meter falls, of its length in a second. */
const FALL = 1.6;

/** Events: "change" when mute, solo, volume or pan changed. */
export class ChannelStrip extends EventTarget {
  #shown = 0;
  #last = 0;

  /**
   * @param {string} stem
   * @param {number} number counted from 1, as on the keyboard
   */
  constructor(stem, number) {
    super();
    this.stem = stem;
    /** @type {any} */
    this.channel = undefined;
    this.settings = { volume: 1, pan: 0, muted: false, soloed: false };
    const label = stemLabel(stem);
    this.mute = this.#toggle("M", `Mute ${label}`, `mute-${stem}`, () => this.set({ muted: !this.settings.muted }));
    this.solo = this.#toggle("S", `Solo ${label}`, `solo-${stem}`, () => this.set({ soloed: !this.settings.soloed }));
    this.volume = this.#slider("volume", `Volume of ${label}`, { min: 0, max: 100, value: 100 }, (value) => this.set({ volume: value / 100 }));
    this.pan = this.#slider("pan", `Pan of ${label}`, { min: -100, max: 100, value: 0 }, (value) => this.set({ pan: value / 100 }));
    this.pan.addEventListener("dblclick", () => this.set({ pan: 0 }));
    this.bar = h("div", { class: "meter-bar" });
    this.element = h("div", { class: "strip", role: "group", "aria-label": label, "data-testid": `strip-${stem}`, "data-stem": stem },
      h("div", { class: "strip-name" }, h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "strip-label" }, label),
        number <= 9 && h("kbd", { "aria-hidden": "true" }, String(number))),
      h("div", { class: "strip-buttons" }, this.mute, this.solo),
      h("div", { class: "strip-sliders" },
        h("label", { class: "mini" }, h("span", { "aria-hidden": "true" }, "Vol"), this.volume),
        h("label", { class: "mini" }, h("span", { "aria-hidden": "true" }, "Pan"), this.pan)),
      h("div", { class: "meter", "aria-hidden": "true", "data-testid": `meter-${stem}` }, this.bar));
    this.element.style.setProperty("--stem", `var(${stemVariable(stem)})`);
    this.#show();
  }

  /**
   * Connects the strip with the player's channel.
   * @param {any} channel
   */
  connect(channel) {
    this.channel = channel;
    this.#apply();
  }

  /** @param {Partial<ChannelStrip["settings"]>} settings */
  set(settings) {
    Object.assign(this.settings, settings);
    this.#apply();
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Moves the level meter.
   * @param {number} now milliseconds
   * @param {boolean} playing
   */
  meter(now, playing) {
    const level = playing && this.channel ? this.channel.level() : -Infinity;
    const length = Math.min(1, Math.max(0, 1 - level / FLOOR_DB));
    const fall = this.#last ? ((now - this.#last) / 1000) * FALL : 1;
    this.#last = now;
    const shown = Math.max(length, this.#shown - fall, 0);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.bar.style.transform = `scaleX(${shown.toFixed(3)})`;
  }

  #apply() {
    if (this.channel) Object.assign(this.channel, this.settings);
  }

  #show() {
    const { muted, soloed, volume, pan } = this.settings;
    setAttribute(this.mute, "aria-pressed", String(muted));
    setAttribute(this.solo, "aria-pressed", String(soloed));
    this.volume.value = String(Math.round(volume * 100));
    this.pan.value = String(Math.round(pan * 100));
    setAttribute(this.volume, "aria-valuetext", `${Math.round(volume * 100)} percent`);
    setAttribute(this.pan, "aria-valuetext", panWords(pan));
    this.volume.style.setProperty("--fill", `${volume * 100}%`);
  }

  /**
   * @param {string} letter
   * @param {string} label
   * @param {string} id
   * @param {() => void} click
   */
  #toggle(letter, label, id, click) {
    return h("button", {
      type: "button", class: `toggle toggle-${letter.toLowerCase()}`, "aria-label": label, title: label, "aria-pressed": "false",
      "data-testid": id, on: { click },
    }, letter);
  }

  /**
   * @param {string} name
   * @param {string} label
   * @param {{min: number, max: number, value: number}} range
   * @param {(value: number) => void} input
   */
  #slider(name, label, range, input) {
    return h("input", {
      type: "range", class: `slider slider-${name}`, "aria-label": label, title: label, ...range, step: 1,
      "data-testid": `${name}-${this.stem}`,
      on: { input: (/** @type {Event} */ event) => input(Number(/** @type {HTMLInputElement} */ (event.target).value)) },
    });
  }
}

/** @param {number} pan -1 to 1 */
export function panWords(pan) {
  const percent = Math.round(Math.abs(pan) * 100);
  return percent === 0 ? "centre" : `${percent} percent ${pan < 0 ? "left" : "right"}`;
}
