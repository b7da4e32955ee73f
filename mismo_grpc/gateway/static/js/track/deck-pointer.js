/** What a pointer does in the zoomed view: click seeks, drag moves the view, drag on the ruler makes a loop. */

const CLICK_PIXELS = 4;

/**
 * What of a deck a pointer needs.
 * @typedef {EventTarget & {
 *   element: HTMLElement, ruler: {element: HTMLElement}, session: {duration: number},
 *   viewport: import("../timeline/viewport.js").Viewport,
 *   setFollow: (follow: boolean) => void, zoom: (factor: number, x?: number) => void, showCursor: (x: number) => void,
 * }} PointedDeck
 */

/**
 * Listens on the rows of a deck; the listeners go with its elements.
 * @param {PointedDeck} deck
 */
export function startDeckPointer(deck) {
  const xOf = (/** @type {MouseEvent} */ event) => event.clientX - deck.ruler.element.getBoundingClientRect().left;
  deck.element.addEventListener("pointerdown", (event) => {
    const row = rowOf(event);
    if (!row || event.button !== 0) return;
    const loops = row === deck.ruler.element || event.shiftKey;
    const start = { x: xOf(event), time: deck.viewport.timeAt(xOf(event)), left: deck.viewport.left };
    let moved = false;
    row.setPointerCapture(event.pointerId);
    const move = (/** @type {PointerEvent} */ pointer) => {
      const x = xOf(pointer);
      moved ||= Math.abs(x - start.x) > CLICK_PIXELS;
      if (!moved) return;
      if (loops) emit(deck, "loop", { start: start.time, end: deck.viewport.timeAt(x) });
      else {
        deck.setFollow(false);
        deck.viewport.moveTo(start.left - (x - start.x) / deck.viewport.pixelsPerSecond);
        deck.dispatchEvent(new Event("view"));
      }
    };
    const end = (/** @type {PointerEvent} */ pointer) => {
      row.removeEventListener("pointermove", move);
      row.removeEventListener("pointerup", end);
      row.removeEventListener("pointercancel", end);
      if (pointer.type === "pointerup" && !moved && start.time >= 0 && start.time < deck.session.duration) {
        emit(deck, "seek", { seconds: start.time });
      }
    };
    row.addEventListener("pointermove", move);
    row.addEventListener("pointerup", end);
    row.addEventListener("pointercancel", end);
  });
  deck.element.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") deck.showCursor(rowOf(event) ? xOf(event) : -1);
  });
  deck.element.addEventListener("pointerleave", () => deck.showCursor(-1));
  deck.element.addEventListener("wheel", (event) => {
    if (!rowOf(event)) return;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
    if (event.ctrlKey || event.metaKey) deck.zoom(Math.exp(-event.deltaY / 240), xOf(event));
    else if (sideways) {
      deck.setFollow(false);
      deck.viewport.moveTo(deck.viewport.left + sideways / deck.viewport.pixelsPerSecond);
    } else return;
    event.preventDefault();
    deck.dispatchEvent(new Event("view"));
  }, { passive: false });
}

/** @param {Event} event */
function rowOf(event) {
  const row = event.target instanceof Element ? event.target.closest(".deck-row") : null;
  return row instanceof HTMLElement ? row : null;
}

/**
 * @param {EventTarget} target
 * @param {string} name
 * @param {object} detail
 */
function emit(target, name, detail) {
  target.dispatchEvent(new CustomEvent(name, { detail }));
}
