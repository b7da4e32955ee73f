/** A set of integers, stored as ranges. */

/** The integers from `start` to `end`, without `end`. */
export type Range = readonly [start: number, end: number];

/** Holds sorted ranges that neither overlap nor touch. */
export class RangeSet {
  #ranges: Range[] = [];

  /** Adds [start, end) and returns the parts that are new, in order. */
  add(start: number, end: number): Range[] {
    const added: Range[] = [];
    const ranges: Range[] = [];
    let [low, high, at] = [start, end, start];
    for (const range of this.#ranges) {
      if (range[1] < start || range[0] > end) {
        ranges.push(range);
        continue;
      }
      if (range[0] > at) added.push([at, range[0]]);
      at = Math.max(at, range[1]);
      low = Math.min(low, range[0]);
      high = Math.max(high, range[1]);
    }
    if (end > at) added.push([at, end]);
    if (high > low) ranges.push([low, high]);
    this.#ranges = ranges.sort((a, b) => a[0] - b[0]);
    return added;
  }
}
