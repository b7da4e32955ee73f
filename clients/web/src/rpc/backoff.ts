/** Waits before each further attempt: longer each time, with jitter, and not longer than the network is away. */

import { abortedError, type MismoError } from "./errors.js";

const INITIAL_SECONDS = 0.2;
const LONGEST_SECONDS = 5;
/** Longest wait that a server can ask for. */
const LONGEST_RETRY_AFTER = 60;

/** Counts the failures since the last success. */
export class Backoff {
  #failures = 0;

  /** Something new arrived: the next wait is short again. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** Waits after a failure; ends early when the browser goes online again. Throws MismoError (CANCELLED). */
  async wait(error: MismoError, signal?: AbortSignal): Promise<void> {
    const whole = Math.min(INITIAL_SECONDS * 2 ** this.#failures, LONGEST_SECONDS);
    this.#failures += 1;
    const asked = Math.min(error.retryAfterSeconds ?? 0, LONGEST_RETRY_AFTER);
    // Half of it is random, so that the clients of a restarted server do not come back all at once.
    await delay(Math.max(asked, whole * (0.5 + 0.5 * Math.random())), signal);
  }
}

function delay(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", done);
      signal?.removeEventListener("abort", done);
      if (signal?.aborted) reject(abortedError(signal.reason));
      else resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    globalThis.addEventListener?.("online", done);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}
