/** Asks before something that cannot be undone. */

import { h } from "./dom.js";

/**
 * Whether the person agrees. Escape and the other button mean no; the focus returns to where it was.
 * @param {string} question
 * @param {string} text
 * @param {string} yes the label of the button that agrees
 * @returns {Promise<boolean>}
 */
export function confirmed(question, text, yes) {
  const agree = h("button", { type: "submit", value: "yes", class: "button danger", "data-testid": "confirm-yes" }, yes);
  const cancel = h("button", { type: "submit", value: "no", class: "button", autofocus: true, "data-testid": "confirm-no" }, "Keep it");
  const dialog = h(
    "dialog",
    { class: "dialog dialog-small", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text", "data-testid": "confirm" },
    h("form", { method: "dialog" }, h("h2", { id: "confirm-title" }, question), h("p", { id: "confirm-text" }, text),
      h("div", { class: "dialog-buttons" }, cancel, agree)),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
