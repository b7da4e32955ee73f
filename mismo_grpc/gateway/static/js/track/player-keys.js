/** What the keys and buttons of the player do with the open track. */

/**
 * What of an open track the keys need.
 * @typedef {object} KeyedTrack
 * @property {number} now seconds
 * @property {import("./deck.js").Deck | undefined} deck
 * @property {import("../player/looper.js").Looper} looper
 * @property {() => void} toggle
 * @property {(seconds: number) => void} seek
 * @property {(value: number) => void} setVolume
 * @property {(factor: number) => void} zoom
 */

/** @param {KeyedTrack} view */
export function playerKeys(view) {
  const flip = (/** @type {number} */ index, /** @type {"muted" | "soloed"} */ name) => {
    const strip = [...(view.deck?.strips.values() ?? [])][index];
    strip?.set({ [name]: !strip.settings[name] });
  };
  return {
    toggle: () => view.toggle(),
    skip: (/** @type {number} */ seconds) => view.seek(view.now + seconds),
    start: () => view.seek(0),
    mute: (/** @type {number} */ index) => flip(index, "muted"),
    solo: (/** @type {number} */ index) => flip(index, "soloed"),
    loopIn: () => view.looper.setIn(view.now),
    loopOut: () => view.looper.setOut(view.now),
    loopToggle: () => view.looper.toggle(view.now),
    loopScale: (/** @type {number} */ factor) => view.looper.scale(factor),
    loopClear: () => view.looper.clear(),
    volume: (/** @type {number} */ value) => view.setVolume(value),
    zoom: (/** @type {number} */ factor) => view.zoom(factor),
    follow: () => view.deck?.setFollow(!view.deck.follow),
  };
}
