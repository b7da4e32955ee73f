/** Messages that do not block: what happened, what to do, and a button for it. */

import { byId, h, iconButton } from "./dom.js";

const MOST_NOTICES = 4;
const GOOD_NEWS_MS = 7000;

/** @typedef {{label: string, run: () => void}} Action */

/**
 * Shows a message. Errors stay until they are closed; good news goes by itself.
 * @param {string} title
 * @param {{text?: string, kind?: "good" | "bad" | "warn" | "info", action?: Action, key?: string}} [options]
 *   key: a notice with the same key is replaced
 * @returns {() => void} closes it
 */
export function notify(title, { text = "", kind = "info", action, key } = {}) {
  const list = byId("notices");
  if (key) dismiss(key);
  const element = h("div", {
    class: `notice notice-${kind}`, "data-key": key, "data-testid": `notice-${kind}`, role: kind === "bad" ? "alert" : "status",
  });
  const close = () => element.remove();
  element.append(h("div", { class: "notice-body" }, h("strong", {}, title), text && h("p", {}, text)));
  if (action) {
    const run = () => {
      close();
      action.run();
    };
    element.append(h("button", { type: "button", class: "button small", "data-testid": "notice-action", on: { click: run } }, action.label));
  }
  element.append(iconButton("close", "Dismiss", { "data-testid": "notice-close", on: { click: close } }));
  while (list.children.length >= MOST_NOTICES) list.firstElementChild?.remove();
  list.append(element);
  if (kind === "good" || kind === "info") leaveBy(element, close);
  return close;
}

/** Closes the notice with a key, if there is one. @param {string} key */
export function dismiss(key) {
  byId("notices").querySelector(`[data-key="${CSS.escape(key)}"]`)?.remove();
}

/**
 * Closes a notice after a while in which nobody points at it or has the focus in it.
 * @param {HTMLElement} element
 * @param {() => void} close
 */
function leaveBy(element, close) {
  const timer = setInterval(() => {
    if (!element.isConnected) clearInterval(timer);
    else if (!element.matches(":hover, :focus-within")) close();
  }, GOOD_NEWS_MS);
}
