/** What is known of this app server's jobs at the analysis server: one file, kept up to date by JobUpdates. */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { JobState } from "mismo-client";

/**
 * @typedef {object} JobRecord
 * @property {string} jobId
 * @property {string} runId
 * @property {string} trackId
 * @property {string} state such as RUNNING
 * @property {{ reason: string, message: string } | null} error why it failed
 */

/**
 * Jobs and the cursor up to which they are known are stored together, so that they fit each other whenever this program
 * ends. Without the file, or with a damaged one, all jobs come anew.
 */
export class JobTable {
  #path;
  #cursor = "";
  /** @type {Map<string, JobRecord>} */
  #jobs = new Map();
  /** Jobs that were known when the cursor had expired: gone, unless they come again before the stream has caught up. */
  #unconfirmed = new Set();

  /** @param {string} path of the file; its folder is made */
  static async open(path, log) {
    const table = new JobTable(path);
    await mkdir(dirname(path), { recursive: true });
    try {
      const { cursor, jobs, unconfirmed } = JSON.parse(await readFile(path, "utf8"));
      const known = new Map(jobs.map((job) => [job.jobId, job]));
      table.#unconfirmed = new Set(unconfirmed);
      table.#jobs = known;
      table.#cursor = cursor;
    } catch (error) {
      if (error.code !== "ENOENT") log.warn(`${path} cannot be read (${error.message}): all jobs come anew`);
    }
    return table;
  }

  /** Use `open`. */
  constructor(path) {
    this.#path = path;
  }

  /** Of the last change that is stored; "" if there is none. */
  get cursor() {
    return this.#cursor;
  }

  /** @returns {JobRecord[]} */
  get jobs() {
    return [...this.#jobs.values()];
  }

  /**
   * Takes an event in and stores it with its cursor. The next one must wait until this resolves.
   *
   * @param {import("mismo-client").JobsEvent} event
   */
  async apply(event) {
    switch (event.type) {
      case "job":
        this.#jobs.set(event.job.jobId, recordOf(event.job));
        this.#unconfirmed.delete(event.job.jobId);
        break;
      case "deleted":
        this.#jobs.delete(event.jobId);
        this.#unconfirmed.delete(event.jobId);
        break;
      case "cursorExpired":
        this.#unconfirmed = new Set(this.#jobs.keys());
        break;
      case "caughtUp":
        for (const jobId of this.#unconfirmed) this.#jobs.delete(jobId);
        this.#unconfirmed.clear();
        break;
      default:
        // Progress is of the moment, and comes again.
        return;
    }
    this.#cursor = event.cursor;
    await this.#store();
  }

  /** Under another name first: the file is whole at any time. */
  async #store() {
    const content = { cursor: this.#cursor, jobs: this.jobs, unconfirmed: [...this.#unconfirmed] };
    await writeFile(`${this.#path}.new`, JSON.stringify(content));
    await rename(`${this.#path}.new`, this.#path);
  }
}

function recordOf({ jobId, runId, labels, state, error }) {
  return {
    jobId,
    runId,
    trackId: labels.track ?? "",
    state: JobState[state] ?? `${state}`,
    error: error ? { reason: error.reason, message: error.message } : null,
  };
}
