/** A set of half-open ranges of numbers: sorted, separate, not adjacent. */

/** @typedef {{start: number, end: number}} Range */

export class RangeSet {
  /** @param {Iterable<Range>} [ranges] */
  constructor(ranges = []) {
    /** @type {Range[]} */
    this.ranges = [];
    for (const range of ranges) this.add(range.start, range.end);
  }

  /**
   * Adds a range; what touches it becomes one with it.
   * @param {number} start
   * @param {number} end
   */
  add(start, end) {
    if (!(end > start)) return;
    const first = this.#firstEndingFrom(start);
    let last = first;
    while (last < this.ranges.length && this.ranges[last].start <= end) {
      start = Math.min(start, this.ranges[last].start);
      end = Math.max(end, this.ranges[last].end);
      last += 1;
    }
    this.ranges.splice(first, last - first, { start, end });
  }

  clear() {
    this.ranges = [];
  }

  /** The sum of the lengths. */
  get length() {
    return this.ranges.reduce((sum, range) => sum + range.end - range.start, 0);
  }

  /**
   * The range that holds a position.
   * @param {number} position
   * @returns {Range | undefined}
   */
  at(position) {
    // No two ranges touch, so the range before a position that it ends at is the only other candidate.
    const index = this.#firstEndingFrom(position);
    const range = this.ranges[index]?.end === position ? this.ranges[index + 1] : this.ranges[index];
    return range && range.start <= position ? range : undefined;
  }

  /**
   * Whether all of a range is in the set.
   * @param {number} start
   * @param {number} end
   */
  covers(start, end) {
    const range = this.at(start);
    return range !== undefined && range.end >= end;
  }

  /**
   * What is not in the set, between two positions.
   * @param {number} start
   * @param {number} end
   * @returns {Range[]}
   */
  gaps(start, end) {
    const found = [];
    let position = start;
    for (const range of this.ranges) {
      if (range.end <= start) continue;
      if (range.start >= end) break;
      if (range.start > position) found.push({ start: position, end: range.start });
      position = Math.max(position, range.end);
    }
    if (position < end) found.push({ start: position, end });
    return found;
  }

  /** @param {number} position */
  #firstEndingFrom(position) {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ranges[middle].end < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
