/** The choices for new tracks: model, stems, files, analyses. They are remembered. */

import { stemLabel } from "../format/names.js";
import { ModelState } from "../server/contract.js";
import { ANALYSES, checkedChoices, inWords, jobOptions } from "../server/job-options.js";
import { modelFor } from "../server/offer.js";
import { recall, remember } from "../server/stored.js";
import { byId, fill, h, setText } from "../ui/dom.js";

/** Event "change" after each choice. */
export class OptionsForm extends EventTarget {
  /** @type {import("../server/offer.js").Model[]} */
  #models = [];
  /** @type {any[]} */
  #stages = [];

  constructor() {
    super();
    this.choices = checkedChoices(recall("choices", {}));
    this.priority = 2;
    this.form = /** @type {HTMLFormElement} */ (byId("options"));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", () => this.#read());
  }

  /**
   * Shows what the server offers.
   * @param {{models: any[], stages: any[]}} offer
   */
  show({ models, stages }) {
    this.#models = models;
    this.#stages = stages;
    this.#render();
    this.dispatchEvent(new Event("change"));
  }

  /** The options of a job with these choices. */
  jobOptions() {
    const { model } = modelFor(this.#models, this.choices.model);
    return jobOptions(this.choices, {
      model: model && this.choices.model === model.name ? model.name : model?.isDefault ? "" : (model?.name ?? ""),
      stemNames: model?.stemNames ?? [],
      offered: this.#stages.filter((stage) => stage.available).map((stage) => stage.stage),
    });
  }

  /** The choices in a few words. */
  get words() {
    return inWords(this.choices, modelFor(this.#models, this.choices.model).model?.name ?? "");
  }

  #read() {
    const data = new FormData(this.form);
    this.choices = checkedChoices({
      model: String(data.get("model") ?? ""),
      stems: /** @type {any} */ (data.get("stems")),
      twoStems: String(data.get("two-stems") ?? this.choices.twoStems),
      someStems: this.form.querySelector('[name="some-stems"]') ? data.getAll("some-stems").map(String) : this.choices.someStems,
      depth: /** @type {any} */ (data.get("depth")),
      analyses: data.getAll("analyses").map(String),
    });
    remember("choices", this.choices);
    this.#render();
    this.dispatchEvent(new Event("change"));
  }

  #render() {
    const { model, note } = modelFor(this.#models, this.choices.model);
    const select = /** @type {HTMLSelectElement} */ (byId("option-model"));
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.id : "";
    fill(select, this.#models.map((other) => h("option", {
      value: other.name, disabled: other.state === ModelState.UNAVAILABLE, selected: other.name === model?.name,
    }, modelText(other))));
    const missing = this.#models.filter((other) => other.state === ModelState.UNAVAILABLE && other.reason);
    setText(byId("model-note"), note);
    fill(byId("model-reasons"), missing.map((other) => h("li", {}, h("strong", {}, other.name), " ", other.reason)));
    byId("model-missing").hidden = missing.length === 0;
    this.#renderStems(model?.stemNames ?? []);
    for (const name of /** @type {const} */ (["stems", "depth"])) {
      const radio = /** @type {HTMLInputElement | null} */ (this.form.querySelector(`[name="${name}"][value="${this.choices[name]}"]`));
      if (radio) radio.checked = true;
    }
    this.#renderAnalyses();
    if (focused) document.getElementById(focused)?.focus();
  }

  /** @param {string[]} stemNames */
  #renderStems(stemNames) {
    const { stems, twoStems, someStems } = this.choices;
    const detail = byId("stem-choice");
    if (stems === "two") {
      fill(detail, h("label", { class: "field" }, h("span", {}, "This stem and the rest"),
        h("select", { name: "two-stems", id: "option-two-stems", "data-testid": "option-two-stems" },
          stemNames.map((name) => h("option", { value: name, selected: name === twoStems }, `${stemLabel(name)} / no ${name}`)))));
    } else if (stems === "some") {
      fill(detail, h("div", { class: "chips", role: "group", "aria-label": "Stems to make" }, stemNames.map((name) => h("label", { class: "chip" },
        h("input", { type: "checkbox", name: "some-stems", value: name, id: `option-stem-${name}`, checked: someStems.includes(name) }), stemLabel(name)))));
    } else {
      fill(detail, h("p", { class: "hint" }, stemNames.map(stemLabel).join(", ")));
    }
  }

  #renderAnalyses() {
    fill(byId("analyses"), ANALYSES.map(({ name, label, stage }) => {
      const info = this.#stages.find((other) => other.stage === stage);
      const available = info?.available ?? false;
      return h("div", { class: "check" },
        h("label", {}, h("input", {
          type: "checkbox", name: "analyses", value: name, id: `option-analysis-${name}`, disabled: !available,
          checked: available && this.choices.analyses.includes(name), "data-testid": `option-analysis-${name}`,
          "aria-describedby": available ? null : `why-${name}`,
        }), label),
        !available && h("p", { class: "hint", id: `why-${name}` }, info?.reason || "This server does not offer it."));
    }));
  }
}

/** @param {import("../server/offer.js").Model} model */
function modelText(model) {
  if (model.state === ModelState.UNAVAILABLE) return `${model.name} (not installed)`;
  const speed = model.realtimeFactor > 0 ? `, ${model.realtimeFactor >= 10 ? Math.round(model.realtimeFactor) : model.realtimeFactor.toFixed(1)}× real time` : "";
  return `${model.name}${speed}${model.isDefault ? ", default" : ""}`;
}
