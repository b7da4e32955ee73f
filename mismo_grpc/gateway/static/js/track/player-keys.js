/** What the keys and buttons of the player do with the open track. */

/**
 * @param {import("./view.js").TrackView} view
 */
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
