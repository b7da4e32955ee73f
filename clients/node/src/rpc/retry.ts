/** Retries with exponential, jittered, bounded delays. */

import { setTimeout as sleep } from "node:timers/promises";

import { MismoError, StreamCorruptError } from "./errors.js";

/** Reasons with which a server ends the stream of a paused consumer. The client reopens it. */
const REOPENED_REASONS: ReadonlySet<string> = new Set(["STREAM_IDLE"]);
/** Longest wait in seconds that a server can demand. */
const LONGEST_RETRY_AFTER = 60;

/** `attempts` counts the first one too; times in seconds. */
export interface RetryPolicy {
  attempts: number;
  initial: number;
  factor: number;
  longest: number;
}

/** For calls, and for streams before their first message. */
export const CALL_RETRY: RetryPolicy = { attempts: 6, initial: 0.1, factor: 2, longest: 3 };
/** For streams after their first message: long enough for a server restart. */
export const STREAM_RETRY: RetryPolicy = { ...CALL_RETRY, attempts: 12 };

/** Called before every wait with the error and the seconds to wait. */
export type OnRetry = (error: MismoError, delay: number) => void;

/**
 * What failed. A stream may continue after more kinds of errors than a call may be repeated after; "resumable" may
 * continue after any error.
 */
export type FailureKind = "call" | "stream" | "resumable";

/**
 * Returns the seconds to wait after this many failures (counted from 1); `fraction` (0 to 1) sets the jitter.
 *
 * Half of the delay is fixed, so that no retry is immediate. The other half is random, so that the clients of a
 * restarted server do not reconnect all at once.
 */
export function retryDelay(policy: RetryPolicy, failures: number, fraction: number): number {
  const whole = Math.min(policy.initial * policy.factor ** (failures - 1), policy.longest);
  return whole * (0.5 + 0.5 * fraction);
}

/**
 * Counts the failures of one call, or of one stream since its last progress.
 *
 * A stream fails as early as a unary call (`first`) until the server answers it. From then on `afterConnected` applies,
 * which allows for a server restart.
 */
export class Attempts {
  #policy: RetryPolicy;
  #afterConnected: RetryPolicy | undefined;
  #failures = 0;

  constructor(
    first: RetryPolicy,
    afterConnected?: RetryPolicy,
    private readonly onRetry?: OnRetry,
  ) {
    this.#policy = first;
    this.#afterConnected = afterConnected;
  }

  /** The server answered: `afterConnected` applies from now on. */
  connected(): void {
    if (this.#afterConnected === undefined) return;
    this.#policy = this.#afterConnected;
    this.#afterConnected = undefined;
  }

  /** New data arrived: earlier failures no longer count. */
  progressed(): void {
    this.#failures = 0;
    this.connected();
  }

  /** Waits until the next attempt is due. Throws `error` if no attempt is left or useful, or the signal's reason. */
  async waitAfter(error: MismoError, signal: AbortSignal | undefined, kind: FailureKind): Promise<void> {
    this.#failures += 1;
    if (this.#failures >= this.#policy.attempts || !isWorthRetrying(error, kind)) throw error;
    const own = retryDelay(this.#policy, this.#failures, Math.random());
    const delay = Math.max(own, Math.min(error.retryAfter ?? 0, LONGEST_RETRY_AFTER));
    this.onRetry?.(error, delay);
    try {
      await sleep(delay * 1000, undefined, { signal });
    } catch {
      signal?.throwIfAborted();
    }
  }
}

function isWorthRetrying(error: MismoError, kind: FailureKind): boolean {
  if (kind === "resumable" || error instanceof StreamCorruptError || error.retryable) return true;
  return kind === "stream" && (error.brokenStream || REOPENED_REASONS.has(error.reason));
}
