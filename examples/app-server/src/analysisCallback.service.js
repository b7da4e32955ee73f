/** Callbacks of the analysis server: whether they are genuine and new, and whom they concern. */

import { createHmac, timingSafeEqual } from "node:crypto";
import { isAbsolute } from "node:path";

import { AnalysisError } from "./pythonClient.service.js";

/** Older signatures may be repeated by somebody who listened. */
const SIGNATURE_AGE_SECONDS = 300;
const REMEMBERED = 1000;

/** An answer other than 2xx; the server tries those again that a later try may turn. */
export class CallbackRefusedError extends Error {
  code = "CALLBACK_REFUSED";

  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class AnalysisCallbacks {
  #secret;
  #stemFiles;
  #log;
  #now;
  /** Who waits for which job. @type {Map<string, { mode: string, resolve: Function, reject: Function }>} */
  #waiting = new Map();
  /** What came of each callback, by its id. @type {Map<string, Promise<void>>} */
  #seen = new Map();

  /** @param {{ secret: string, stemFiles: import("./stemFiles.service.js").StemFiles }} parts secret "": unsigned */
  constructor({ secret, stemFiles, log, now = Date.now }) {
    this.#secret = secret;
    this.#stemFiles = stemFiles;
    this.#log = log;
    this.#now = now;
  }

  /**
   * Announces that the stems of a job will come, by paths or in base64. Do so before the job is submitted, and
   * `forget` it in the end. Tempo, key and the like are passed to `onFeatures`, if they come before the stems.
   *
   * @returns {{ stems: Promise<Record<string, string>>, forget: () => void }}
   */
  expect(jobId, mode, onFeatures = () => {}) {
    let entry;
    const stems = new Promise((resolve, reject) => (entry = { mode, resolve, reject, onFeatures }));
    // Whoever waits may have gone by then.
    stems.catch(() => {});
    this.#waiting.set(jobId, entry);
    const forget = () => {
      if (this.#waiting.get(jobId) === entry) this.#waiting.delete(jobId);
    };
    return { stems, forget };
  }

  /** Before the body is read: a request that cannot be genuine costs no memory. Throws CallbackRefusedError. */
  checkHeaders(headers) {
    if (this.#secret === "") return;
    const time = headers["x-mismo-timestamp"] ?? "";
    const age = Math.abs(this.#now() / 1000 - Number(time));
    if (!/^\d{1,12}$/.test(time) || age > SIGNATURE_AGE_SECONDS || !headers["x-mismo-signature"]) {
      throw new CallbackRefusedError(401, "the callback is not signed, or its signature is too old");
    }
  }

  /** With the body, as it came. Throws CallbackRefusedError. @param {Buffer} body */
  checkSignature(headers, body) {
    if (this.#secret === "") return;
    const time = headers["x-mismo-timestamp"];
    const expected = `sha256=${createHmac("sha256", this.#secret).update(`${time}.`).update(body).digest("hex")}`;
    const given = Buffer.from(headers["x-mismo-signature"]);
    if (given.length !== expected.length || !timingSafeEqual(given, Buffer.from(expected))) {
      throw new CallbackRefusedError(401, "the signature does not fit the callback");
    }
  }

  /**
   * Takes a callback in. When it resolves, the stems are safe on the disk: only then the server may hear 200, for it
   * never sends them again after that. A repeated one waits for the first, and shares its fate.
   *
   * @returns {Promise<"accepted" | "duplicate" | "ignored">}
   */
  async receive(headers, body) {
    const { job_id: jobId, stage, status, timestamp } = body ?? {};
    if (typeof jobId !== "string" || typeof stage !== "string" || typeof status !== "string") {
      throw new CallbackRefusedError(400, "a callback has job_id, stage and status");
    }
    const id = headers["x-mismo-callback-id"] ?? `${jobId}/${stage}/${timestamp}`;
    const earlier = this.#seen.get(id);
    if (earlier !== undefined) {
      await earlier;
      return "duplicate";
    }
    if (stage === "basic_features") return this.#takeFeatures(jobId, body);
    if (stage !== "stems") return "ignored";
    const waiting = this.#waiting.get(jobId);
    // Gone rather than not found, which would be tried again.
    if (waiting === undefined) throw new CallbackRefusedError(410, `nobody waits for job ${jobId}`);
    const handled = this.#handle(waiting, body);
    this.#remember(id, handled);
    await handled;
    this.#log.info(`Stems callback for job ${jobId}: ${status}`);
    return "accepted";
  }

  /** A failed analysis is no reason to give up the stems. */
  #takeFeatures(jobId, { status, data, error }) {
    const waiting = this.#waiting.get(jobId);
    if (waiting === undefined) return "ignored";
    if (status !== "completed") {
      this.#log.warn(`No features of job ${jobId}: ${error?.message ?? status}`);
      return "ignored";
    }
    if (typeof data !== "object" || data === null) throw new CallbackRefusedError(400, "the callback has no data");
    waiting.onFeatures(data);
    return "accepted";
  }

  async #handle(waiting, { status, data, error }) {
    if (status !== "completed") {
      // Whether it is worth another try the callback does not tell.
      waiting.reject(new AnalysisError(error?.message ?? `the job is ${status}`, { code: error?.code }));
      return;
    }
    if (data?.delivery_mode !== waiting.mode || typeof data.stems !== "object" || data.stems === null) {
      throw new CallbackRefusedError(400, `the callback brings no stems as ${waiting.mode}`);
    }
    const read = waiting.mode === "path" ? stemPaths : (stems) => this.#stemFiles.decode(stems);
    waiting.resolve(await read(data.stems));
  }

  #remember(id, handled) {
    this.#seen.set(id, handled);
    // What went wrong may come again and go well.
    handled.catch(() => this.#seen.delete(id));
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.keys().next().value);
  }
}

/** The paths of stems that there are, by name. */
export function stemPaths(stems) {
  const paths = Object.entries(stems).filter(([, path]) => path !== null);
  if (paths.length === 0 || !paths.every(([, path]) => typeof path === "string" && isAbsolute(path))) {
    throw new CallbackRefusedError(400, "stems must be absolute paths");
  }
  return Object.fromEntries(paths);
}
