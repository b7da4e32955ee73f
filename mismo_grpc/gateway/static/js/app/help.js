/** The dialog with the keys. */

import { KEYS, singleKeys } from "../player/keyboard.js";
import { remember } from "../server/stored.js";
import { byId, fill, h } from "../ui/dom.js";

/** Fills the dialog and makes its buttons work. @returns {() => void} opens it */
export function startHelp() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("help"));
  fill(byId("help-keys"), KEYS.map(([keys, does]) => h("div", {}, h("dt", {}, keysOf(keys)), h("dd", {}, does))));
  const toggle = /** @type {HTMLInputElement} */ (byId("single-keys"));
  toggle.checked = singleKeys();
  toggle.addEventListener("change", () => remember("single-keys", toggle.checked));
  const open = () => {
    if (!dialog.open) dialog.showModal();
  };
  byId("help-open").addEventListener("click", open);
  byId("help-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return open;
}

/** @param {string} keys */
function keysOf(keys) {
  return keys.split(/( or | to | \+ |, )/).map((part, index) => (index % 2 ? part : h("kbd", {}, part)));
}
