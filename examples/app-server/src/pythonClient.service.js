/** The analysis server's HTTP side: submit, look, fetch. */

import { createWriteStream, openAsBlob } from "node:fs";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { within } from "./deadline.js";

/** For requests that carry no audio. */
const CALL_TIMEOUT_MS = 30_000;

/** What the server says is wrong, or that it cannot be reached; `retryable` is undefined where nobody told. */
export class AnalysisError extends Error {
  name = "AnalysisError";

  /** @param {{ code?: string, retryable?: boolean, cause?: unknown }} [details] */
  constructor(message, { code = "INTERNAL", retryable, cause } = {}) {
    super(message, { cause });
    this.code = code;
    this.retryable = retryable;
  }
}

/**
 * @typedef {object} Submission
 * @property {string} filePath
 * @property {string} trackHash becomes the job's id
 * @property {"high" | "normal" | "low"} priority
 * @property {"path" | "callback" | "poll"} mode
 * @property {string} [callbackUrl]
 */

export class PythonClient {
  #url;
  #options;

  /**
   * @param {string} url such as http://127.0.0.1:8000
   * @param {{ basicFeatures?: boolean }} [asked] tempo, key and the like beside the stems
   */
  constructor(url, { basicFeatures = false } = {}) {
    this.#url = url;
    this.#options = { stems: true, basic_features: basicFeatures, characteristics: false };
  }

  /** Names a file that the server can read itself. @param {Submission} submission */
  submitPath({ filePath, ...rest }, signal) {
    const body = JSON.stringify({ file_path: filePath, options: this.#options, ...fields(rest) });
    const headers = { "Content-Type": "application/json" };
    return this.#call("/jobs", { method: "POST", headers, body }, signal);
  }

  /** Sends the file, from the disk as it goes. @param {Submission} submission */
  async submitFile({ filePath, ...rest }, signal) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields(rest))) form.append(name, value);
    form.append("options", JSON.stringify(this.#options));
    // Backed by the file: only what is on its way is in memory.
    form.append("file", await openAsBlob(filePath), basename(filePath));
    const response = await this.#fetch("/jobs", { method: "POST", body: form, signal });
    return response.json();
  }

  /** How a job fares: `status`, `progress`, `error`, `callbacks`. */
  job(id, signal) {
    return this.#call(`/jobs/${encodeURIComponent(id)}`, {}, signal);
  }

  /** What the stems callback would have brought, with paths (`path`) or links (`poll`). */
  stems(id, mode, signal) {
    return this.#call(`/jobs/${encodeURIComponent(id)}/stems?mode=${mode}`, {}, signal);
  }

  /** Ends a job that nobody waits for any more. */
  remove(id, signal) {
    return this.#call(`/jobs/${encodeURIComponent(id)}`, { method: "DELETE" }, signal);
  }

  /** A link of `stems` into a new file. */
  async download(link, path, signal) {
    const url = new URL(link, this.#url);
    if (url.origin !== new URL(this.#url).origin) throw new AnalysisError(`${url} is not the analysis server`);
    const response = await this.#fetch(url, { signal });
    try {
      await pipeline(Readable.fromWeb(response.body), createWriteStream(path, { flags: "wx" }), { signal });
    } catch (error) {
      signal?.throwIfAborted();
      // The disk says why in its own words; everything else is the connection.
      if (error.syscall !== undefined) throw error;
      throw new AnalysisError(`the download broke off: ${reason(error)}`, { retryable: true, cause: error });
    }
  }

  /** A small request and its JSON. */
  #call(path, init, signal) {
    return within(CALL_TIMEOUT_MS, signal, async (signal) => {
      const response = await this.#fetch(path, { ...init, signal });
      return response.json();
    });
  }

  async #fetch(path, init) {
    let response;
    try {
      response = await fetch(new URL(path, this.#url), { ...init, redirect: "error" });
    } catch (error) {
      init.signal?.throwIfAborted();
      throw new AnalysisError(`the analysis server cannot be reached: ${reason(error)}`, {
        code: "UNREACHABLE",
        retryable: true,
        cause: error,
      });
    }
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({}));
    throw new AnalysisError(error?.message ?? `the analysis server answered ${response.status}`, {
      code: error?.code,
      retryable: error?.retryable ?? response.status >= 500,
    });
  }
}

function fields({ trackHash, priority, mode, callbackUrl }) {
  return {
    track_hash: trackHash,
    priority,
    stem_delivery_mode: mode,
    ...(callbackUrl && { callback_url: callbackUrl }),
  };
}

/** fetch hides what happened in the cause. */
function reason(error) {
  return error.cause?.message || error.cause?.code || error.message;
}
