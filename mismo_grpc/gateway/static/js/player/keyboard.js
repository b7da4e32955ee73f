/** Keys of the player. They work wherever the focus is, except where typing or the control itself needs them. */

import { recall } from "../server/stored.js";

/** For the help dialog and docs/page.md. @type {[keys: string, does: string][]} */
export const KEYS = [
  ["Space or K", "play or pause"],
  ["Left, Right", "5 seconds back or ahead (with Shift: 1 second)"],
  ["J", "10 seconds back"],
  ["Home", "to the start"],
  ["1 to 9", "mute or unmute a stem"],
  ["Shift + 1 to 9", "solo a stem"],
  ["I, O", "set the start or the end of the loop"],
  ["L", "loop on or off (8 beats if none is set)"],
  ["Up, Down", "master volume"],
  ["+, -", "zoom in or out"],
  ["F", "let the view follow the playhead"],
  ["U", "add tracks"],
  ["?", "this help"],
];

/**
 * @typedef {object} PlayerKeys
 * @property {() => void} toggle
 * @property {(seconds: number) => void} skip
 * @property {() => void} start
 * @property {(index: number) => void} mute
 * @property {(index: number) => void} solo
 * @property {() => void} loopIn
 * @property {() => void} loopOut
 * @property {() => void} loopToggle
 * @property {(change: number) => void} volume
 * @property {(factor: number) => void} zoom
 * @property {() => void} follow
 */

/** Seconds, for the slider of the position; what any slider does with these keys. @type {Record<string, number>} */
const SLIDER_STEPS = { ArrowUp: 5, ArrowDown: -5, PageUp: 30, PageDown: -30, End: Infinity };

/** Whether keys of one character work; they can be switched off, for people who dictate. */
export function singleKeys() {
  return recall("single-keys", true);
}

/**
 * The action of a key press; undefined: none.
 * @param {{key: string, code: string, shiftKey: boolean, target: EventTarget | null}} event
 * @param {PlayerKeys} act
 * @returns {(() => void) | undefined}
 */
export function actionOf(event, act) {
  const kind = kindOf(event.target);
  if (kind === "text") return undefined;
  const { key, code, shiftKey } = event;
  if (kind === "seek" && key in SLIDER_STEPS) return () => act.skip(SLIDER_STEPS[key]);
  if (kind !== "slider" && kind !== "choice") {
    if (key === "ArrowLeft") return () => act.skip(shiftKey ? -1 : -5);
    if (key === "ArrowRight") return () => act.skip(shiftKey ? 1 : 5);
    if (key === "Home") return () => act.start();
    if (kind === "page" && key === "ArrowUp") return () => act.volume(0.05);
    if (kind === "page" && key === "ArrowDown") return () => act.volume(-0.05);
  }
  // Space presses the button that has the focus.
  if (key === " ") return kind === "button" || kind === "choice" ? undefined : () => act.toggle();
  if (!singleKeys()) return undefined;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(code)?.[1];
  if (digit) return () => (shiftKey ? act.solo : act.mute)(Number(digit) - 1);
  switch (key.toLowerCase()) {
    case "k":
      return () => act.toggle();
    case "j":
      return () => act.skip(-10);
    case "i":
      return () => act.loopIn();
    case "o":
      return () => act.loopOut();
    case "l":
      return () => act.loopToggle();
    case "f":
      return () => act.follow();
    case "+":
    case "=":
      return () => act.zoom(1.6);
    case "-":
      return () => act.zoom(1 / 1.6);
    default:
      return undefined;
  }
}

/**
 * What has the focus, as far as keys matter to it.
 * @param {EventTarget | null} target
 * @returns {"text" | "slider" | "choice" | "button" | "seek" | "page"}
 */
function kindOf(target) {
  if (!(target instanceof HTMLElement)) return "page";
  if (target.isContentEditable || target.matches('textarea, input:not([type="range"], [type="checkbox"], [type="radio"], [type="file"])')) return "text";
  if (target.matches('input[type="range"]')) return "slider";
  if (target.matches('select, input[type="checkbox"], input[type="radio"], [role="menu"] *')) return "choice";
  if (target.matches("button, a[href], summary")) return "button";
  return target.matches('[role="slider"]') ? "seek" : "page";
}
