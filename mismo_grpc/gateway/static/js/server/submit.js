/** Submits a job so that a cut network neither loses it nor makes it twice. */

import { errorOf } from "./client.js";

const PASSING = ["NETWORK", "WEBSOCKET_REFUSED", "OVERLOADED", "SERVER_DRAINING", "QUEUE_FULL"];
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
      if (signal.aborted || !PASSING.includes(error.reason)) throw error;
      // Not all at once after a restart of the server.
      await pause(Math.max((error.retryAfterSeconds ?? 0) * 1000, wait * (0.5 + 0.5 * Math.random())), signal);
    }
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve(undefined);
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}
