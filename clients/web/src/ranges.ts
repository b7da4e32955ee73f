/** A set of integers, kept as sorted ranges that do not touch. */

/** From `start` up to but without `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Adds, removes and finds ranges. */
export class RangeSet implements Iterable<Range> {
  #ranges: Range[] = [];

  [Symbol.iterator](): Iterator<Range> {
    return this.#ranges[Symbol.iterator]();
  }

  /** Adds a range. */
  add(start: number, end: number): void {
    if (end <= start) return;
    const touching = this.#ranges.filter((range) => range.start <= end && range.end >= start);
    const low = Math.min(start, ...touching.map((range) => range.start));
    const high = Math.max(end, ...touching.map((range) => range.end));
    const rest = this.#ranges.filter((range) => !touching.includes(range));
    this.#ranges = [...rest, { start: low, end: high }].sort((a, b) => a.start - b.start);
  }

  /** Removes a range. */
  remove(start: number, end: number): void {
    if (end <= start) return;
    this.#ranges = this.#ranges.flatMap((range) =>
      [
        { start: range.start, end: Math.min(range.end, start) },
        { start: Math.max(range.start, end), end: range.end },
      ].filter((part) => part.end > part.start),
    );
  }

  /** Returns the range that contains `at`; undefined if none does. */
  at(at: number): Range | undefined {
    return this.#ranges.find((range) => range.start <= at && at < range.end);
  }

  /** Returns the first integer from `at` on that is not in the set. */
  endFrom(at: number): number {
    return this.at(at)?.end ?? at;
  }
}
