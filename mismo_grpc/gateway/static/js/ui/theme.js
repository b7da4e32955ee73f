/** Dark or light: as the system says, or as the person chose. */

import { recall, remember } from "../server/stored.js";
import { byId, icon } from "./dom.js";

const NAMES = { system: "as the system", dark: "dark", light: "light" };
/** @typedef {keyof typeof NAMES} Theme */

/**
 * Makes the button that changes the theme work.
 * @param {() => void} changed redraws what is drawn in colours of the theme
 */
export function startTheme(changed) {
  const button = byId("theme");
  const order = /** @type {Theme[]} */ (Object.keys(NAMES));
  let theme = /** @type {Theme} */ (recall("theme", "system"));
  if (!(theme in NAMES)) theme = "system";
  const show = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const label = `Colours: ${NAMES[theme]}`;
    button.setAttribute("aria-label", label);
    button.title = label;
    button.replaceChildren(icon(theme === "system" ? "system" : theme === "dark" ? "moon" : "sun"));
    changed();
  };
  button.addEventListener("click", () => {
    theme = order[(order.indexOf(theme) + 1) % order.length];
    remember("theme", theme);
    show();
  });
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", changed);
  show();
}
