/** What the server offers: its models, stages and limits. */

import { ModelState } from "./contract.js";

/** @typedef {{name: string, stemNames: string[], state: number, reason: string, isDefault: boolean, realtimeFactor: number}} Model */

/**
 * Asks the server for all of it.
 * @param {any} client
 */
export async function loadOffer(client) {
  const [info, models, stages] = await Promise.all([
    client.system.getServerInfo({}), client.system.listModels({}), client.system.listStages({}),
  ]);
  return { info, models: models.models, stages: stages.stages };
}

/**
 * Which model a job gets: the chosen one, or what replaces it, with a note that says so.
 * @param {readonly Model[]} models
 * @param {string} chosen empty: the server's default
 * @returns {{model: Model | undefined, note: string}}
 */
export function modelFor(models, chosen) {
  const usable = models.filter((model) => model.state !== ModelState.UNAVAILABLE);
  const asked = models.find((model) => model.name === chosen) ?? models.find((model) => model.isDefault);
  if (asked && asked.state !== ModelState.UNAVAILABLE) return { model: asked, note: "" };
  const instead = usable.find((model) => model.isDefault) ?? usable.find((model) => model.name === "mismo_lite") ?? usable[0];
  if (!instead) return { model: undefined, note: "This server has no model that can be used." };
  return { model: instead, note: asked ? `${asked.name} is not installed: ${instead.name} is used.` : "" };
}

/**
 * Why a file cannot be uploaded; empty if it can.
 * @param {{name: string, size: number}} file
 * @param {number} maxBytes 0: no limit
 * @param {(bytes: number) => string} sizeText
 */
export function refusalOf(file, maxBytes, sizeText) {
  if (file.size === 0) return "The file is empty. Choose another file.";
  if (maxBytes > 0 && file.size > maxBytes) {
    return `The file has ${sizeText(file.size)}; this server takes at most ${sizeText(maxBytes)}. Convert it to FLAC or MP3.`;
  }
  return "";
}
