/** Submits a job so that a cut network neither loses it nor makes it twice. */

import { errorOf } from "./client.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

/**
 * Asks until the server has answered; `request.request_id` makes sure that there is one job.
 * @param {any} client
 * @param {any} request a SubmitJobRequest
 * @param {AbortSignal} signal
 * @returns {Promise<any>} the job
 */
export async function submitSurely(client, request, signal) {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(LONGEST_WAIT_MS, wait * 2)) {
    try {
      return (await client.jobs.submitJob(request, { signal })).job;
    } catch (cause) {
      const error = errorOf(cause);
      if (signal.aborted || !["NETWORK", "SERVER_DRAINING", "QUEUE_FULL"].includes(error.reason)) throw error;
      await pause((error.retryAfterSeconds ?? 0) * 1000 || wait, signal);
    }
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
