/** Detects a dead connection of a watch by its missing heartbeats. */

import type { Duration } from "./generated/google/protobuf/duration.js";
import { toDuration } from "./rpc/durations.js";

const DEFAULT_INTERVAL = 10;

/** Heartbeats of a watch; times in seconds. */
export interface HeartbeatOptions {
  /** How often the server sends a heartbeat when it has nothing else to send (10 s; 1 s to 60 s). */
  heartbeatInterval?: number;
  /** The client replaces the connection after this long without a message (twice the interval plus 5 s). */
  heartbeatTimeout?: number;
  /** Yield the heartbeats as events too (false). */
  heartbeats?: boolean;
}

/** HeartbeatOptions with all defaults applied. */
export class Heartbeat {
  readonly interval: Duration;
  /** Seconds. */
  readonly timeout: number;
  readonly isYielded: boolean;

  /** Throws RangeError. */
  constructor({ heartbeatInterval = DEFAULT_INTERVAL, heartbeatTimeout, heartbeats = false }: HeartbeatOptions) {
    this.interval = toDuration(heartbeatInterval);
    this.timeout = heartbeatTimeout ?? 2 * heartbeatInterval + 5;
    this.isYielded = heartbeats;
  }
}
