/** Checks that frames, bytes and revisions are integers, before a call fails to encode them. */

/** Returns `value` if it is a safe integer (below 2^53 in magnitude). Throws RangeError with `name`. */
export function wholeNumber(name: string, value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${name} must be a whole number, not ${value}`);
  return value;
}
