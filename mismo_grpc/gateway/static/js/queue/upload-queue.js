/** Uploads files and submits their jobs: the more important first, a few at a time. */

import { titleOf } from "../format/names.js";
import { uuid } from "../server/stored.js";

const AT_ONCE = 2;
export const MOST_WAITING = 200;

/**
 * @typedef {object} Upload
 * @property {string} id
 * @property {File} file
 * @property {string} title
 * @property {number} priority
 * @property {object} options of the job
 * @property {"waiting" | "sending" | "offline" | "submitting" | "failed"} state
 * @property {number} sent bytes
 * @property {any} [error] why it has failed, or waits
 * @property {string} requestId the same for every try, so that no job is made twice
 * @property {AbortController} abort
 */

/** Events: "change" (any upload), "submitted" {job, upload}, "failed" {upload}. */
export class UploadQueue extends EventTarget {
  /** @type {Upload[]} */
  uploads = [];

  /**
   * @param {{
   *   upload: (file: File, options: {filename: string, signal: AbortSignal,
   *     onProgress: (sent: number, total: number, state: "sending" | "waiting", error?: any) => void}) => Promise<string>,
   *   submit: (request: object, signal: AbortSignal) => Promise<any>,
   *   errorOf: (cause: unknown) => any,
   *   labels: Record<string, string>,
   * }} server
   */
  constructor(server) {
    super();
    this.server = server;
  }

  /**
   * Adds a file.
   * @param {File} file
   * @param {object} options of its job
   * @param {number} priority
   */
  add(file, options, priority) {
    /** @type {Upload} */
    const upload = {
      id: uuid(), file, title: titleOf(file.name), priority, options, state: "waiting", sent: 0, requestId: uuid(),
      abort: new AbortController(),
    };
    this.uploads.push(upload);
    this.#changed();
    this.#next();
    return upload;
  }

  /** How many more files fit. */
  get room() {
    return MOST_WAITING - this.uploads.length;
  }

  /**
   * @param {Upload} upload
   * @param {number} priority
   */
  prioritise(upload, priority) {
    upload.priority = priority;
    this.#changed();
  }

  /** @param {Upload} upload */
  retry(upload) {
    if (upload.state !== "failed") return;
    Object.assign(upload, { state: "waiting", error: undefined, sent: 0, requestId: uuid(), abort: new AbortController() });
    this.#changed();
    this.#next();
  }

  /** @param {Upload} upload */
  remove(upload) {
    upload.abort.abort();
    this.uploads = this.uploads.filter((other) => other !== upload);
    this.#changed();
    this.#next();
  }

  /** Whether something would be lost if the page were closed now. */
  get busy() {
    return this.uploads.some((upload) => upload.state !== "failed");
  }

  #next() {
    const active = this.uploads.filter(({ state }) => ["sending", "offline", "submitting"].includes(state)).length;
    if (active >= AT_ONCE) return;
    const waiting = this.uploads.filter(({ state }) => state === "waiting");
    if (!waiting.length) return;
    const upload = waiting.reduce((best, other) => (other.priority > best.priority ? other : best));
    upload.state = "sending";
    void this.#run(upload);
    this.#next();
  }

  /** @param {Upload} upload */
  async #run(upload) {
    const { signal } = upload.abort;
    try {
      const uploadId = await this.server.upload(upload.file, {
        filename: upload.file.name.slice(-200),
        signal,
        onProgress: (sent, _total, state, error) => {
          upload.sent = sent;
          upload.error = error;
          upload.state = state === "waiting" ? "offline" : "sending";
          this.#changed();
        },
      });
      upload.state = "submitting";
      this.#changed();
      const job = await this.server.submit(this.#request(upload, uploadId), signal);
      this.uploads = this.uploads.filter((other) => other !== upload);
      this.dispatchEvent(new CustomEvent("submitted", { detail: { job, upload } }));
    } catch (cause) {
      if (signal.aborted) return;
      upload.state = "failed";
      upload.error = this.server.errorOf(cause);
      this.dispatchEvent(new CustomEvent("failed", { detail: { upload } }));
    }
    this.#changed();
    this.#next();
  }

  /**
   * @param {Upload} upload
   * @param {string} uploadId
   */
  #request(upload, uploadId) {
    return {
      requestId: upload.requestId,
      source: { location: { case: "uploadId", value: uploadId } },
      options: upload.options,
      priority: upload.priority,
      labels: { ...this.server.labels, title: upload.title },
    };
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
