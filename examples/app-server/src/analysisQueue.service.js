/** What is to be analysed: the most urgent first, then the oldest; so many at once; tried again; bounded in time. */

import { randomUUID } from "node:crypto";

import { TimeLimitError, within } from "./deadline.js";

const RANKS = { high: 1, normal: 2, low: 3 };
export const PRIORITIES = Object.keys(RANKS);

const MOST_QUEUED = 1000;
/** Jobs that have ended are remembered, so that somebody can ask how. */
const MOST_ENDED = 200;
const LONGEST_RETRY_DELAY_MS = 30_000;

/** The queue is full. */
export class QueueFullError extends Error {
  code = "QUEUE_FULL";
  status = 503;
}

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {import("./library.service.js").Track} track
 * @property {"high" | "normal" | "low"} priority
 * @property {"queued" | "processing" | "completed" | "failed"} status
 * @property {number} order counts the jobs: which of two is older
 * @property {number} attempts
 * @property {string} [trackHash] the job's id at the analysis server, once it is known
 * @property {number} progress 0 to 1, as far as the mode tells
 * @property {string} createdAt
 * @property {Record<string, string> | null} stems paths by name
 * @property {Record<string, unknown>} [features] tempo, key and the like, where a callback brought them
 * @property {Error | null} error
 * @property {Promise<Job>} ended resolves however it ends
 */

export class AnalysisQueue {
  #run;
  #abandon;
  #ready;
  #options;
  #log;
  /** @type {Set<Job>} */
  #queued = new Set();
  /** @type {Set<Job>} */
  #processing = new Set();
  /** Waiting for their next try. @type {Map<Job, NodeJS.Timeout>} */
  #resting = new Map();
  /** All of these and the ones that ended last. @type {Map<string, Job>} */
  #jobs = new Map();
  #resolvers = new Map();
  #count = 0;
  #filling = false;
  #closing = new AbortController();

  /**
   * @param {object} parts
   * @param {(job: Job, signal: AbortSignal) => Promise<Record<string, string>>} parts.run one try; the stems' paths.
   *   An error with `retryable` is tried again.
   * @param {(job: Job) => void} parts.abandon told of a job that took too long, for good
   * @param {(signal: AbortSignal) => Promise<void>} parts.ready resolves when a job can be run
   * @param {import("./config.js").Config["queue"]} parts.options
   */
  constructor({ run, abandon, ready, options, log }) {
    this.#run = run;
    this.#abandon = abandon;
    this.#ready = ready;
    this.#options = options;
    this.#log = log;
  }

  /**
   * Takes a track in. One that is under way already is not analysed twice: its job is returned, more urgent if that
   * is asked for. Throws QueueFullError.
   *
   * @returns {Job}
   */
  request(track, priority = "normal") {
    const rank = RANKS[priority];
    if (rank === undefined) throw new RangeError(`priority must be one of ${PRIORITIES.join(", ")}`);
    for (const job of [...this.#queued, ...this.#resting.keys(), ...this.#processing]) {
      if (job.track.id !== track.id) continue;
      if (rank < RANKS[job.priority]) job.priority = priority;
      return job;
    }
    if (this.#queued.size >= MOST_QUEUED || this.#closing.signal.aborted) {
      throw new QueueFullError("no more tracks can be queued now");
    }
    const job = {
      id: randomUUID(),
      track,
      priority,
      status: "queued",
      order: this.#count++,
      attempts: 0,
      progress: 0,
      createdAt: new Date().toISOString(),
      stems: null,
      error: null,
    };
    job.ended = new Promise((resolve) => this.#resolvers.set(job, resolve));
    this.#jobs.set(job.id, job);
    this.#enqueue(job);
    return job;
  }

  /** @returns {Job | undefined} */
  job(id) {
    return this.#jobs.get(id);
  }

  /** @returns {Job[]} */
  get jobs() {
    return [...this.#jobs.values()];
  }

  /** Ends what runs, and takes nothing more. */
  close() {
    this.#closing.abort(new Error("the app server stops"));
    for (const timer of this.#resting.values()) clearTimeout(timer);
    for (const job of [...this.#queued, ...this.#resting.keys()]) this.#end(job, "failed", this.#closing.signal.reason);
  }

  #enqueue(job) {
    job.status = "queued";
    this.#queued.add(job);
    void this.#fill();
  }

  async #fill() {
    if (this.#filling) return;
    this.#filling = true;
    try {
      while (this.#queued.size > 0 && this.#processing.size < this.#options.maxConcurrent) {
        await this.#ready(this.#closing.signal);
        // Chosen only now: something more urgent may have come while the server was away.
        const job = this.#mostUrgent();
        if (job !== undefined) void this.#process(job);
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#log.error(`The queue stands still: ${error.message}`);
    } finally {
      this.#filling = false;
    }
  }

  #mostUrgent() {
    const [first] = [...this.#queued].sort((a, b) => RANKS[a.priority] - RANKS[b.priority] || a.order - b.order);
    this.#queued.delete(first);
    return first;
  }

  async #process(job) {
    this.#processing.add(job);
    job.status = "processing";
    job.attempts += 1;
    try {
      job.stems = await within(this.#options.timeoutMs, this.#closing.signal, (signal) => this.#run(job, signal));
      this.#end(job, "completed", null);
    } catch (error) {
      this.#failed(job, error);
    } finally {
      this.#processing.delete(job);
      void this.#fill();
    }
  }

  #failed(job, error) {
    const { maxRetries, retryDelayMs } = this.#options;
    const again = error.retryable === true && job.attempts <= maxRetries && !this.#closing.signal.aborted;
    if (!again) {
      this.#log.error(`Analysis of ${job.track.title} failed: ${error.message}`);
      if (error instanceof TimeLimitError) this.#abandon(job);
      this.#end(job, "failed", error);
      return;
    }
    const delay = Math.min(retryDelayMs * 2 ** (job.attempts - 1), LONGEST_RETRY_DELAY_MS);
    this.#log.warn(`Analysis of ${job.track.title} is tried again in ${delay} ms: ${error.message}`);
    job.status = "queued";
    // Not in its slot: others may use that meanwhile.
    const wake = () => {
      this.#resting.delete(job);
      this.#enqueue(job);
    };
    this.#resting.set(job, setTimeout(wake, delay));
  }

  #end(job, status, error) {
    job.status = status;
    job.error = error;
    if (status === "completed") job.progress = 1;
    this.#queued.delete(job);
    this.#resting.delete(job);
    this.#resolvers.get(job)(job);
    this.#resolvers.delete(job);
    const ended = this.jobs.filter(({ status }) => status === "completed" || status === "failed");
    for (const old of ended.slice(0, -MOST_ENDED)) this.#jobs.delete(old.id);
  }
}
