/** The positions of queued jobs. The server tells a job's own changes, not that others went before it or left. */

import { JobState } from "../server/contract.js";
import { throttled } from "../ui/frames.js";

const REFRESH_MS = 10_000;
const AFTER_CHANGE_MS = 400;
const PAGE_SIZE = 200;

/** Asks the server for the positions of queued jobs after changes, and at intervals while there are such jobs. */
export class QueuePositions {
  #asking = false;

  /**
   * @param {any} client
   * @param {() => Iterable<any>} jobs all jobs of the list
   * @param {() => void} changed called once positions have changed
   */
  constructor(client, jobs, changed) {
    this.client = client;
    this.jobs = jobs;
    this.changed = changed;
    /** Asks soon. */
    this.refresh = throttled(() => void this.#ask(), AFTER_CHANGE_MS);
    setInterval(this.refresh, REFRESH_MS);
  }

  async #ask() {
    const queued = [...this.jobs()].filter((job) => job.state === JobState.QUEUED);
    if (queued.length === 0 || document.hidden) return;
    if (this.#asking) return this.refresh();
    this.#asking = true;
    try {
      const { jobs } = await this.client.jobs.listJobs({ states: [JobState.QUEUED], pageSize: PAGE_SIZE });
      if (takePositions(queued, jobs)) this.changed();
    } catch {
      // The list's own watch tells that the server cannot be reached.
    } finally {
      this.#asking = false;
    }
  }
}

/**
 * Gives the queued jobs the progress of the listed ones, by run.
 * @param {any[]} queued
 * @param {any[]} listed
 * @returns {boolean} whether a position has changed
 */
export function takePositions(queued, listed) {
  const progress = new Map(listed.map((job) => [job.runId, job.progress]));
  let changed = false;
  for (const job of queued) {
    const newest = progress.get(job.runId);
    if (!newest || newest.queuePosition === job.progress?.queuePosition) continue;
    job.progress = newest;
    changed = true;
  }
  return changed;
}
