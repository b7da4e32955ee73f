/** The requests to the workers. */

import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Failure, reasonOf } from "./failure.js";

const HEALTH_POLL_MS = 500;
const ATTEMPT_MS = 10_000;

/** Waits until the worker's GET /health answers 200; throws Failure when `signal` ends the wait. */
export async function waitUntilHealthy(url, signal) {
  let last = "no answer yet";
  for (;;) {
    try {
      const attempt = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]);
      const response = await fetch(`${url}/health`, { signal: attempt });
      await response.body?.cancel();
      if (response.ok) return;
      last = `GET /health answers ${response.status}`;
    } catch (error) {
      if (!signal.aborted) last = reasonOf(error);
    }
    try {
      await sleep(HEALTH_POLL_MS, undefined, { signal });
    } catch {
      throw new Failure(`the worker at ${url} is not healthy (${last}); is it running, and is the address right?`);
    }
  }
}

/** The address of this machine from which it reaches a worker: the worker reaches this machine there. */
export async function addressTowards(url) {
  const { hostname, port, protocol } = new URL(url);
  const socket = connect({
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port) || (protocol === "https:" ? 443 : 80),
    timeout: ATTEMPT_MS,
  });
  socket.on("timeout", () => socket.destroy(new Error("no connection in time")));
  try {
    await once(socket, "connect");
    return socket.localAddress.replace(/^::ffff:/, "");
  } catch (error) {
    throw new Failure(`${url} cannot be reached: ${reasonOf(error)}`);
  } finally {
    socket.destroy();
  }
}

/**
 * POSTs a request as .NET's PostAsJsonAsync does: the length of the body is not announced (chunked), and the content
 * type names the charset. Throws Failure unless the answer is 202.
 *
 * @param {string} url
 * @param {object} payload
 * @param {AbortSignal} signal
 */
export async function submit(url, payload, signal) {
  let response, text;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json; charset=utf-8" },
      body: new Blob([JSON.stringify(payload)]).stream(),
      duplex: "half",
      signal,
    });
    text = await response.text();
  } catch (error) {
    throw new Failure(`POST ${url}: ${reasonOf(error)}`);
  }
  if (response.status !== 202) {
    throw new Failure(`POST ${url} answers ${response.status}, not 202: ${errorIn(text)}`);
  }
}

/** GET /jobs/{id}: status, progress (0 to 1), error; undefined if there is no answer that can be read. */
export async function jobView(url, jobId, signal) {
  try {
    const attempt = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]);
    const response = await fetch(`${url}/jobs/${encodeURIComponent(jobId)}`, { signal: attempt });
    const view = await response.json();
    return response.ok && typeof view?.status === "string" ? view : undefined;
  } catch {
    return undefined;
  }
}

/** The error's code and message in a worker's answer, or the first characters of another answer. */
function errorIn(text) {
  try {
    const { code, message } = JSON.parse(text).error;
    return `${code}: ${message}`;
  } catch {
    return text.slice(0, 500) || "(empty)";
  }
}
