/** Positions among sorted times, such as beats. */

/**
 * The index of the first time that is not before a position.
 * @param {readonly number[]} times sorted
 * @param {number} position
 */
export function firstFrom(times, position) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The time that is closest to a position; the position itself if there are no times.
 * @param {readonly number[]} times sorted
 * @param {number} position
 */
export function nearest(times, position) {
  const after = firstFrom(times, position);
  const candidates = [times[after - 1], times[after]].filter((time) => time !== undefined);
  if (!candidates.length) return position;
  return candidates.reduce((best, time) => (Math.abs(time - position) < Math.abs(best - position) ? time : best));
}

/**
 * The element of a list of spans that holds a position, such as a section or a chord.
 * @template {{start: number, end: number}} Span
 * @param {readonly Span[]} spans sorted, separate
 * @param {number} position
 * @returns {Span | undefined}
 */
export function spanAt(spans, position) {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle].end <= position) low = middle + 1;
    else high = middle;
  }
  return low < spans.length && spans[low].start <= position ? spans[low] : undefined;
}

/**
 * A step between the ticks of a time ruler, in seconds, so that two are at least this far apart.
 * @param {number} pixelsPerSecond
 * @param {number} leastPixels
 */
export function tickStep(pixelsPerSecond, leastPixels = 72) {
  const steps = [0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
  return steps.find((step) => step * pixelsPerSecond >= leastPixels) ?? 3600;
}
