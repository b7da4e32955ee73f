/** The bar at the bottom: play, time, state, loop, view, master volume. */

import { clock, spokenTime } from "../format/time.js";
import { h, icon, iconButton, setAttribute, setText } from "../ui/dom.js";

export class Transport {
  /**
   * @param {{
   *   toggle: () => void, skip: (seconds: number) => void, start: () => void, volume: (value: number) => void,
   *   loopIn: () => void, loopOut: () => void, loopToggle: () => void, loopScale: (factor: number) => void, loopClear: () => void,
   *   zoom: (factor: number) => void, follow: () => void,
   * }} act
   * @param {number} volume
   */
  constructor(act, volume) {
    this.play = h("button", { type: "button", class: "play", "aria-label": "Play", "data-testid": "play", on: { click: act.toggle } }, icon("play"));
    this.now = h("span", { class: "time-now", "data-testid": "time" }, "0:00.0");
    this.total = h("span", { class: "time-total", "data-testid": "duration" }, "0:00");
    this.bar = h("span", { class: "time-bar", "data-testid": "bar" });
    this.state = h("p", { class: "state-line", "data-testid": "state-line" });
    this.loopToggle = h("button", { type: "button", class: "toggle toggle-loop", "aria-pressed": "false", "aria-label": "Loop", title: "Loop on or off (L)", "data-testid": "loop-toggle", on: { click: act.loopToggle } }, icon("loop"), h("span", {}, "Loop"));
    this.loopText = h("span", { class: "loop-text", "data-testid": "loop-text" });
    this.clear = iconButton("close", "Remove the loop", { "data-testid": "loop-clear", on: { click: act.loopClear } });
    this.half = this.#text("½", "½: half the loop", "loop-half", () => act.loopScale(0.5));
    this.twice = this.#text("×2", "×2: double the loop", "loop-double", () => act.loopScale(2));
    this.follow = h("button", { type: "button", class: "toggle", "aria-pressed": "true", title: "The view follows the playhead (F)", "data-testid": "follow", on: { click: act.follow } }, "Follow");
    this.volume = h("input", {
      type: "range", class: "slider slider-volume", min: 0, max: 100, step: 1, value: Math.round(volume * 100),
      "aria-label": "Master volume", "data-testid": "master-volume",
      on: { input: () => act.volume(Number(this.volume.value) / 100) },
    });
    this.showVolume(volume);
    this.element = h("div", { class: "transport", role: "group", "aria-label": "Player", "data-testid": "transport" },
      h("div", { class: "transport-main" },
        iconButton("start", "To the start (Home)", { "data-testid": "to-start", on: { click: act.start } }),
        iconButton("back", "5 seconds back (left arrow)", { "data-testid": "back", on: { click: () => act.skip(-5) } }),
        this.play,
        iconButton("forward", "5 seconds ahead (right arrow)", { "data-testid": "forward", on: { click: () => act.skip(5) } })),
      h("div", { class: "transport-time" }, h("span", { class: "times" }, this.now, h("span", { class: "slash", "aria-hidden": "true" }, "/"), this.total, this.bar), this.state),
      h("div", { class: "transport-loop", role: "group", "aria-label": "Loop" },
        this.#text("In", "In: the loop starts here (I)", "loop-in", act.loopIn), this.#text("Out", "Out: the loop ends here (O)", "loop-out", act.loopOut),
        this.loopToggle, this.half, this.twice, this.loopText, this.clear),
      h("div", { class: "transport-view", role: "group", "aria-label": "View" }, this.follow,
        iconButton("minus", "Zoom out (-)", { "data-testid": "zoom-out", on: { click: () => act.zoom(1 / 1.6) } }),
        iconButton("plus", "Zoom in (+)", { "data-testid": "zoom-in", on: { click: () => act.zoom(1.6) } })),
      h("label", { class: "transport-volume" }, icon("volume"), this.volume));
  }

  /** @param {boolean} playing what the button does next */
  showPlaying(playing) {
    if (this.play.dataset.playing === String(playing)) return;
    this.play.dataset.playing = String(playing);
    setAttribute(this.play, "aria-label", playing ? "Pause" : "Play");
    this.play.title = `${playing ? "Pause" : "Play"} (space)`;
    this.play.replaceChildren(icon(playing ? "pause" : "play"));
  }

  /**
   * @param {number} seconds
   * @param {number} duration
   */
  showTime(seconds, duration) {
    setText(this.now, clock(seconds, { tenths: true }));
    setText(this.total, clock(duration));
  }

  /**
   * @param {string} text
   * @param {boolean} busy
   */
  showState(text, busy) {
    setText(this.state, text);
    this.state.classList.toggle("busy", busy);
  }

  /**
   * @param {import("../player/loop-region.js").Loop | null} loop
   * @param {boolean} active
   */
  showLoop(loop, active) {
    setAttribute(this.loopToggle, "aria-pressed", String(active));
    for (const control of [this.loopToggle, this.half, this.twice, this.clear]) control.disabled = !loop;
    setText(this.loopText, loop ? `${clock(loop.start, { tenths: true })} – ${clock(loop.end, { tenths: true })}` : "");
    this.loopText.hidden = !loop;
    this.clear.hidden = !loop;
    if (loop) setAttribute(this.loopText, "aria-label", `Loop from ${spokenTime(loop.start)} to ${spokenTime(loop.end)}`);
  }

  /** @param {number} volume */
  showVolume(volume) {
    this.volume.value = String(Math.round(volume * 100));
    setAttribute(this.volume, "aria-valuetext", `${this.volume.value} percent`);
    this.volume.style.setProperty("--fill", `${this.volume.value}%`);
  }

  /**
   * @param {string} text
   * @param {string} label
   * @param {string} id
   * @param {() => void} click
   */
  #text(text, label, id, click) {
    return h("button", { type: "button", class: "toggle", "aria-label": label, title: label, "data-testid": id, on: { click } }, text);
  }
}
