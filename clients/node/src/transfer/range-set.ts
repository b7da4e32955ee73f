/** A set of whole numbers, kept as ranges. */

/** [start, end). */
export type Range = readonly [start: number, end: number];

/** Sorted, separate, not adjacent ranges. */
export class RangeSet {
  #ranges: Range[] = [];

  /** Adds [start, end) and returns what of it was not there, in order. */
  add(start: number, end: number): Range[] {
    const added: Range[] = [];
    const kept: Range[] = [];
    let [low, high, at] = [start, end, start];
    for (const range of this.#ranges) {
      if (range[1] < start || range[0] > end) {
        kept.push(range);
        continue;
      }
      if (range[0] > at) added.push([at, range[0]]);
      at = Math.max(at, range[1]);
      low = Math.min(low, range[0]);
      high = Math.max(high, range[1]);
    }
    if (end > at) added.push([at, end]);
    if (high > low) kept.push([low, high]);
    this.#ranges = kept.sort((a, b) => a[0] - b[0]);
    return added;
  }
}
