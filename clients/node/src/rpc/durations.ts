/** Converts between seconds and google.protobuf.Duration. */

import type { Duration } from "../generated/google/protobuf/duration.js";

const NANOS = 1_000_000_000;

/** Converts seconds to a message; undefined stays undefined. Throws RangeError unless finite. */
export function duration(value: number | undefined): Duration | undefined {
  return value === undefined ? undefined : toDuration(value);
}

/** Converts seconds to a message. Throws RangeError unless finite. */
export function toDuration(value: number): Duration {
  if (!Number.isFinite(value)) throw new RangeError(`${value} is not a number of seconds`);
  const whole = Math.trunc(value);
  const nanos = Math.round((value - whole) * NANOS);
  // A fraction may round up to a whole second.
  return Math.abs(nanos) === NANOS ? { seconds: whole + Math.sign(nanos), nanos: 0 } : { seconds: whole, nanos };
}

/** Converts a message to seconds. */
export function seconds(value: Duration): number {
  return value.seconds + value.nanos / NANOS;
}

/** Returns the frame at a time, rounded down as the server does. Integer arithmetic keeps it exact. */
export function frameAt(time: Duration, sampleRate: number): number {
  return Number(((BigInt(time.seconds) * BigInt(NANOS) + BigInt(time.nanos)) * BigInt(sampleRate)) / BigInt(NANOS));
}
