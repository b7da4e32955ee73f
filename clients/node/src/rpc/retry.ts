/** Decides whether and when to try again: exponential, jittered, bounded. */

import { setTimeout as sleep } from "node:timers/promises";

import { MismoError, StreamCorruptError } from "./errors.js";

/** Why a server ends the stream of a consumer that paused; it is opened again when the consumer goes on. */
const REOPENED_REASONS: ReadonlySet<string> = new Set(["STREAM_IDLE"]);
/** Seconds; a server that asks for a longer wait gets this one. */
const LONGEST_RETRY_AFTER = 60;

/** `attempts` in all; times in seconds. */
export interface RetryPolicy {
  attempts: number;
  initial: number;
  factor: number;
  longest: number;
}

/** For calls, and for streams that never brought anything. */
export const CALL_RETRY: RetryPolicy = { attempts: 6, initial: 0.1, factor: 2, longest: 3 };
/** For streams that did: rides out a restart of the server. */
export const STREAM_RETRY: RetryPolicy = { ...CALL_RETRY, attempts: 12 };

/** Called before every wait, with the error and the seconds. */
export type OnRetry = (error: MismoError, delay: number) => void;

/**
 * What failed. A stream can go on after more kinds of errors than a call can be repeated after; "resumable" is what
 * can go on after any.
 */
export type FailureKind = "call" | "stream" | "resumable";

/**
 * Seconds to wait after that many failures (counted from 1); `fraction` (0 to 1) sets the jitter.
 *
 * Half of the wait is fixed, so that no retry comes at once; half is spread, so that the clients of a restarted
 * server do not all come together.
 */
export function retryDelay(policy: RetryPolicy, failures: number, fraction: number): number {
  const whole = Math.min(policy.initial * policy.factor ** (failures - 1), policy.longest);
  return whole * (0.5 + 0.5 * fraction);
}

/**
 * Counts the failures of one call, or of one stream since it last brought something.
 *
 * A stream that never brought anything is given up as early as a unary call (`first`); for one that did, `then`
 * allows the time that a server needs to restart.
 */
export class Attempts {
  #policy: RetryPolicy;
  #then: RetryPolicy | undefined;
  #failures = 0;

  constructor(
    first: RetryPolicy,
    then?: RetryPolicy,
    private readonly onRetry?: OnRetry,
  ) {
    this.#policy = first;
    this.#then = then;
  }

  /** The server answered: from now on `then` holds. */
  connected(): void {
    if (this.#then === undefined) return;
    this.#policy = this.#then;
    this.#then = undefined;
  }

  /** Something new arrived: failures before it no longer count. */
  progressed(): void {
    this.#failures = 0;
    this.connected();
  }

  /** Waits until the next attempt is due. Throws `error` if none is left or worth it, or the signal's reason. */
  async after(error: MismoError, signal: AbortSignal | undefined, kind: FailureKind): Promise<void> {
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
