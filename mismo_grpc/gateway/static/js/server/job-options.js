/** From the choices in the form to the options of a job. */

import { Encoding, Stage } from "./contract.js";

/**
 * @typedef {object} Choices
 * @property {string} model empty: the server's default
 * @property {"all" | "two" | "some"} stems
 * @property {string} twoStems the stem of two
 * @property {string[]} someStems
 * @property {"16" | "24" | "float"} depth
 * @property {string[]} analyses names of ANALYSES
 */

/** @type {Choices} */
export const DEFAULT_CHOICES = {
  model: "", stems: "all", twoStems: "vocals", someStems: ["vocals"], depth: "16", analyses: ["rhythm"],
};

/** What can be asked for beside the stems. */
export const ANALYSES = [
  { name: "rhythm", label: "Tempo, key, beats", stage: Stage.BASIC_FEATURES },
  { name: "sections", label: "Sections", stage: Stage.SECTIONS },
  { name: "chords", label: "Chords", stage: Stage.CHORDS },
];

const DEPTHS = { 16: Encoding.PCM_S16LE, 24: Encoding.PCM_S24LE, float: Encoding.PCM_F32LE };

/**
 * Choices as they were remembered, without what is of a wrong kind.
 * @param {Partial<Choices>} remembered
 * @returns {Choices}
 */
export function checkedChoices(remembered) {
  const choices = { ...DEFAULT_CHOICES };
  if (typeof remembered.model === "string") choices.model = remembered.model;
  if (["all", "two", "some"].includes(remembered.stems ?? "")) choices.stems = /** @type {Choices["stems"]} */ (remembered.stems);
  if (typeof remembered.twoStems === "string") choices.twoStems = remembered.twoStems;
  if (isNames(remembered.someStems)) choices.someStems = remembered.someStems;
  if ((remembered.depth ?? "") in DEPTHS) choices.depth = /** @type {Choices["depth"]} */ (remembered.depth);
  if (isNames(remembered.analyses)) choices.analyses = remembered.analyses;
  return choices;
}

/**
 * The options of a job. Stems that the model does not have, and analyses that are not offered, are left out.
 * @param {Choices} choices
 * @param {{model: string, stemNames: readonly string[], offered: readonly number[]}} server model: the one that is used
 */
export function jobOptions(choices, { model, stemNames, offered }) {
  const known = (/** @type {string} */ stem) => stemNames.length === 0 || stemNames.includes(stem);
  const some = choices.someStems.filter(known);
  const stems = {
    model,
    stemNames: choices.stems === "some" && some.length ? some : [],
    twoStems: choices.stems === "two" && known(choices.twoStems) ? choices.twoStems : "",
    output: { encoding: DEPTHS[choices.depth] },
  };
  const analyses = ANALYSES.filter(({ name, stage }) => choices.analyses.includes(name) && offered.includes(stage));
  return { stages: [Stage.STEMS, ...analyses.map(({ stage }) => stage)], stems };
}

/**
 * The choices in a few words: "htdemucs, all stems".
 * @param {Choices} choices
 * @param {string} model
 */
export function inWords(choices, model) {
  const stems = { all: "all stems", two: `${choices.twoStems} and the rest`, some: choices.someStems.join(", ") || "all stems" };
  return [model, stems[choices.stems], choices.depth === "float" ? "float" : `${choices.depth} bit`].filter(Boolean).join(" · ");
}

/**
 * @param {unknown} value
 * @returns {value is string[]}
 */
function isNames(value) {
  return Array.isArray(value) && value.every((name) => typeof name === "string");
}
