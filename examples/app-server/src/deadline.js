/** Time limits, and work that is given up. */

/** Something took too long. */
export class TimeLimitError extends Error {
  name = "TimeLimitError";
  code = "TIMEOUT";
  retryable = true;
}

/** A signal that aborts with `outer`, or when `abort` is called; call that in any case, in the end. */
export function signalBelow(outer) {
  outer?.throwIfAborted();
  const controller = new AbortController();
  const pass = () => controller.abort(outer.reason);
  outer?.addEventListener("abort", pass, { once: true });
  const abort = (reason) => {
    // A signal that lives long must not collect listeners.
    outer?.removeEventListener("abort", pass);
    controller.abort(reason);
  };
  return { signal: controller.signal, abort };
}

/**
 * Runs `work` with a signal that aborts with `outer`, and after `ms`; rejects then at the latest, even if the work
 * does not look at its signal.
 *
 * @template T
 * @param {number} ms
 * @param {AbortSignal | undefined} outer
 * @param {(signal: AbortSignal) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function within(ms, outer, work) {
  const { signal, abort } = signalBelow(outer);
  const timer = setTimeout(() => abort(new TimeLimitError(`not done within ${ms} ms`)), ms);
  const aborted = new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([work(signal), aborted]);
  } finally {
    clearTimeout(timer);
    // Whatever lost a race inside the work ends as well.
    abort(new Error("over"));
  }
}
