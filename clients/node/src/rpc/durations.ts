/** Seconds in this client, google.protobuf.Duration on the wire. */

import type { Duration } from "../generated/google/protobuf/duration.js";

const NANOS = 1_000_000_000;

/** The message for that many seconds; undefined stays undefined. Throws RangeError unless finite. */
export function duration(value: number | undefined): Duration | undefined {
  return value === undefined ? undefined : toDuration(value);
}

/** The message for that many seconds. Throws RangeError unless finite. */
export function toDuration(value: number): Duration {
  if (!Number.isFinite(value)) throw new RangeError(`${value} is not a number of seconds`);
  const whole = Math.trunc(value);
  const nanos = Math.round((value - whole) * NANOS);
  // A fraction may round up to a whole second.
  return Math.abs(nanos) === NANOS ? { seconds: whole + Math.sign(nanos), nanos: 0 } : { seconds: whole, nanos };
}

/** Seconds of a message. */
export function seconds(value: Duration): number {
  return value.seconds + value.nanos / NANOS;
}

/** The frame at a time, rounded down as the server does; exact, other than in floating point. */
export function frameAt(time: Duration, sampleRate: number): number {
  return Number(((BigInt(time.seconds) * BigInt(NANOS) + BigInt(time.nanos)) * BigInt(sampleRate)) / BigInt(NANOS));
}
