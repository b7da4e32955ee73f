/** Says things to screen readers, politely and not too often. */

import { byId } from "./dom.js";

const LEAST_INTERVAL_MS = 1500;

let last = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let pending;

/**
 * Says a text; only the newest of several that come close together is said.
 * @param {string} text
 */
export function announce(text) {
  clearTimeout(pending);
  const wait = Math.max(0, last + LEAST_INTERVAL_MS - Date.now());
  pending = setTimeout(() => {
    last = Date.now();
    byId("announcer").textContent = text;
  }, wait);
}
