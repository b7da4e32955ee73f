/** How a watch learns that its connection is dead. */

import type { Duration } from "./generated/google/protobuf/duration.js";
import { toDuration } from "./rpc/durations.js";

const DEFAULT_INTERVAL = 10;

/** Heartbeats of a watch; times in seconds. */
export interface HeartbeatOptions {
  /** How often the server shows that it lives when nothing happens (10 s; 1 s to 60 s). */
  heartbeatInterval?: number;
  /** The connection is replaced when nothing came for this long (twice the interval and 5 s). */
  heartbeatTimeout?: number;
  /** Hand out heartbeats too (false). */
  heartbeats?: boolean;
}

/** The same, complete. */
export class Heartbeat {
  readonly interval: Duration;
  /** Seconds. */
  readonly timeout: number;
  readonly isHandedOut: boolean;

  /** Throws RangeError. */
  constructor({ heartbeatInterval = DEFAULT_INTERVAL, heartbeatTimeout, heartbeats = false }: HeartbeatOptions) {
    this.interval = toDuration(heartbeatInterval);
    this.timeout = heartbeatTimeout ?? 2 * heartbeatInterval + 5;
    this.isHandedOut = heartbeats;
  }
}
