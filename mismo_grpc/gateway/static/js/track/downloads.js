/** The files of a finished job, in the formats that the server makes. */

import { stemLabel } from "../format/names.js";
import { explained } from "../server/remedies.js";
import { recall, remember } from "../server/stored.js";
import { announce } from "../ui/announce.js";
import { fill, h, icon } from "../ui/dom.js";
import { notify } from "../ui/notices.js";
import { stemVariable } from "../ui/palette.js";

/** What can be downloaded in each format; `all` is one file with all stems. */
export const FORMATS = {
  wav: { label: "WAV", stem: (/** @type {string} */ stem) => `stems/${stem}.wav`, all: "stems.zip", allLabel: "All stems as ZIP" },
  flac: { label: "FLAC", stem: (/** @type {string} */ stem) => `artifacts/${stem}.flac`, all: "artifacts/stems-flac.zip", allLabel: "All stems as ZIP" },
  mp3: { label: "MP3", stem: (/** @type {string} */ stem) => `artifacts/${stem}.mp3`, all: "artifacts/stems-mp3.zip", allLabel: "All stems as ZIP" },
  stem: { label: "Stem file", stem: undefined, all: "artifacts/track.stem.mp4", allLabel: "One .stem.mp4 for DJ software" },
};
/** @typedef {keyof typeof FORMATS} Format */

export class Downloads {
  /** @type {Format} */
  format = "wav";

  /** @param {string} jobId */
  constructor(jobId) {
    this.jobId = jobId;
    const remembered = recall("download-format", "wav");
    if (remembered in FORMATS) this.format = /** @type {Format} */ (remembered);
    this.list = h("ul", { class: "download-list", role: "list" });
    /** @type {readonly string[]} */
    this.stems = [];
    this.element = h("section", { class: "downloads panel", "aria-labelledby": "downloads-title", hidden: true, "data-testid": "downloads" },
      h("div", { class: "panel-head" }, h("h2", { id: "downloads-title" }, "Downloads"), this.#formats()),
      this.list);
  }

  /** @param {readonly string[]} stems of the finished job; empty: not finished */
  show(stems) {
    if (stems.join() === this.stems.join()) return;
    this.stems = stems;
    this.#render();
  }

  #formats() {
    return h("fieldset", { class: "segmented" }, h("legend", { class: "visually-hidden" }, "Format"),
      Object.entries(FORMATS).map(([name, { label }]) => h("label", {},
        h("input", {
          type: "radio", name: "download-format", value: name, checked: name === this.format, "data-testid": `download-format-${name}`,
          on: { change: () => this.#choose(/** @type {Format} */ (name)) },
        }), h("span", {}, label))));
  }

  /** @param {Format} format */
  #choose(format) {
    this.format = format;
    remember("download-format", format);
    this.#render();
  }

  #render() {
    this.element.hidden = this.stems.length === 0;
    const { stem: pathOf, all, allLabel, label } = FORMATS[this.format];
    const stems = pathOf ? this.stems.map((stem) => this.#item(stemLabel(stem), label, pathOf(stem), `download-${stem}`, stem)) : [];
    fill(this.list, stems, this.#item(allLabel, "", all, "download-all"));
  }

  /**
   * @param {string} name
   * @param {string} kind
   * @param {string} path below the job
   * @param {string} id
   * @param {string} [stem]
   */
  #item(name, kind, path, id, stem) {
    const state = h("span", { class: "download-state" }, kind);
    const link = h("a", { class: "download", href: `/jobs/${encodeURIComponent(this.jobId)}/${path}`, download: "", "data-testid": id },
      stem ? h("span", { class: "dot", "aria-hidden": "true" }) : null, h("span", { class: "download-name" }, name), state, icon("download"));
    if (stem) link.style.setProperty("--stem", `var(${stemVariable(stem)})`);
    link.addEventListener("click", (event) => {
      if (link.dataset.ready) return;
      event.preventDefault();
      void this.#prepare(link, state, name, kind);
    });
    return h("li", {}, link);
  }

  /**
   * Asks for the first byte, which makes the server render the file; then lets the browser download it. A link straight to a
   * file that cannot be made would leave the page for an error in JSON.
   * @param {HTMLAnchorElement} link
   * @param {HTMLElement} state
   * @param {string} name
   * @param {string} kind
   */
  async #prepare(link, state, name, kind) {
    if (link.getAttribute("aria-busy") === "true") return;
    link.setAttribute("aria-busy", "true");
    state.textContent = "Preparing …";
    announce(`Preparing ${name} ${kind}`);
    try {
      const response = await fetch(link.href, { headers: { Range: "bytes=0-0" } });
      if (!response.ok && response.status !== 416) throw await refusal(response);
      await response.body?.cancel();
      link.dataset.ready = "true";
      link.click();
      announce(`Downloading ${name} ${kind}`);
    } catch (cause) {
      const error = cause instanceof TypeError ? { reason: "NETWORK", message: "The server cannot be reached" } : /** @type {any} */ (cause);
      notify(`${name} could not be downloaded`, { kind: "bad", text: explained(error), key: "download" });
    } finally {
      delete link.dataset.ready;
      link.removeAttribute("aria-busy");
      state.textContent = kind;
    }
  }
}

/** @param {Response} response */
async function refusal(response) {
  try {
    const { error } = await response.json();
    return { reason: String(error.code), message: String(error.message), retryable: Boolean(error.retryable) };
  } catch {
    return { reason: "", message: `The server answered with ${response.status}` };
  }
}
