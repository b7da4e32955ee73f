/** Frames, bytes and revisions are whole; what is not would fail deep inside a call. */

/** `value`, if it is an integer within 2^53. Throws RangeError naming it. */
export function wholeNumber(name: string, value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${name} must be a whole number, not ${value}`);
  return value;
}
