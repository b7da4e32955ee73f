/** The changes of all jobs of this app server, in one stream from the analysis server. */

import { setTimeout as sleep } from "node:timers/promises";

export class JobUpdates {
  #watchJobs;
  #table;
  #retryDelayMs;
  #log;
  /** @type {Map<string, (fraction: number) => void>} */
  #onProgress = new Map();
  #closing = new AbortController();
  #running = Promise.resolve();

  /**
   * @param {object} parts
   * @param {(options: { cursor: string, signal: AbortSignal }) => AsyncIterable<import("mismo-client").JobsEvent>}
   *   parts.watchJobs
   * @param {import("./jobTable.service.js").JobTable} parts.table
   * @param {number} parts.retryDelayMs before the stream is opened again that was given up
   */
  constructor({ watchJobs, table, retryDelayMs, log }) {
    this.#watchJobs = watchJobs;
    this.#table = table;
    this.#retryDelayMs = retryDelayMs;
    this.#log = log;
  }

  start() {
    this.#running = this.#run();
  }

  async close() {
    this.#closing.abort(new Error("the app server stops"));
    await this.#running;
  }

  /** Calls `listener` with a job's progress, 0 to 1. Returns the function that ends this. */
  onProgress(jobId, listener) {
    this.#onProgress.set(jobId, listener);
    return () => {
      if (this.#onProgress.get(jobId) === listener) this.#onProgress.delete(jobId);
    };
  }

  /** The client rides out breaks and restarts of some length; this goes on however long the server is away. */
  async #run() {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#log.warn(`The updates of jobs stopped (${error.message}); again in ${this.#retryDelayMs} ms`);
      }
      await sleep(this.#retryDelayMs, undefined, { signal }).catch(() => {});
    }
  }

  async #follow(signal) {
    let changes = 0;
    for await (const event of this.#watchJobs({ cursor: this.#table.cursor, signal })) {
      // An event is handled once it is stored. What was not comes again, in this program or the next.
      await this.#table.apply(event);
      if (event.type === "progress") this.#onProgress.get(event.jobId)?.(event.progress.fraction);
      if (event.type === "job" || event.type === "deleted") changes += 1;
      if (event.type === "cursorExpired") this.#log.warn("The cursor of the jobs has expired: all jobs come anew");
      if (event.type === "caughtUp") {
        this.#log.info(`The updates of jobs have caught up: ${changes} changed meanwhile`);
        changes = 0;
      }
    }
  }
}
