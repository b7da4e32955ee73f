/** Seconds in this client, google.protobuf.Duration on the wire. */

import type { Duration } from "./generated/google/protobuf/duration.js";

const NANOS = 1_000_000_000;

/** The message for that many seconds; undefined stays undefined. Throws RangeError unless finite. */
export function duration(value: number | undefined): Duration | undefined {
  if (value === undefined) return undefined;
  if (!Number.isFinite(value)) throw new RangeError(`${value} is no number of seconds`);
  const whole = Math.trunc(value);
  const nanos = Math.round((value - whole) * NANOS);
  // A fraction may round up to a whole second.
  return Math.abs(nanos) === NANOS ? { seconds: whole + Math.sign(nanos), nanos: 0 } : { seconds: whole, nanos };
}

/** Seconds of a message. */
export function seconds(value: Duration): number {
  return value.seconds + value.nanos / NANOS;
}
