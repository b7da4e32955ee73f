/** The colours of the theme, for canvases. */

const KNOWN = ["vocals", "drums", "bass", "other", "guitar", "piano", "synth"];
/** @type {Map<string, string>} */
const cache = new Map();

/**
 * The CSS variable of a stem's colour; a complement such as "no_vocals" has that of the mix.
 * @param {string} stem
 */
export function stemVariable(stem) {
  return `--stem-${KNOWN.includes(stem) ? stem : "mix"}`;
}

/**
 * The value of a CSS variable of the theme.
 * @param {string} name
 */
export function themeColour(name) {
  let value = cache.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    cache.set(name, value);
  }
  return value;
}

/** Forgets the values after a change of the theme. */
export function forgetColours() {
  cache.clear();
}
