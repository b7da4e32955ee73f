/** One loop of animation frames for all that moves; it rests when nothing does. */

/** @type {Set<(now: number) => void>} */
const moving = new Set();
/** @type {Set<(now: number) => void>} */
const once = new Set();
let scheduled = 0;

/** @param {number} now milliseconds */
function frame(now) {
  scheduled = 0;
  const due = [...once];
  once.clear();
  for (const draw of due) draw(now);
  for (const draw of moving) draw(now);
  schedule();
}

function schedule() {
  if (!scheduled && (moving.size || once.size)) scheduled = requestAnimationFrame(frame);
}

/**
 * Calls a function in every frame until the returned function is called.
 * @param {(now: number) => void} draw
 */
export function everyFrame(draw) {
  moving.add(draw);
  schedule();
  return () => {
    moving.delete(draw);
  };
}

/**
 * Calls a function in the next frame, however often this is called before.
 * @param {(now: number) => void} draw
 */
export function nextFrame(draw) {
  once.add(draw);
  schedule();
}

/**
 * A function that runs at most so often, and once more after the last call.
 * @param {() => void} run
 * @param {number} intervalMs
 */
export function throttled(run, intervalMs) {
  let last = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const now = () => {
    timer = undefined;
    last = Date.now();
    run();
  };
  return Object.assign(
    () => {
      timer ??= setTimeout(now, Math.max(0, last + intervalMs - Date.now()));
    },
    { cancel: () => clearTimeout(timer) },
  );
}
