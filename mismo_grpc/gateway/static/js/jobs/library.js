/** The list of jobs: those of this browser or all, the active ones first, live. */

import { hasEnded, JobState } from "../server/contract.js";
import { browserId, recall, remember } from "../server/stored.js";
import { byId, setText } from "../ui/dom.js";
import { throttled } from "../ui/frames.js";
import { JobsWatch } from "../server/client.js";
import { JobRow } from "./job-row.js";
import { QueuePositions } from "./queue-positions.js";

const FIRST_SHOWN = 40;

/** Events: "connection" {state, error}, "job" {job} (new or changed), "deleted" {jobId}, "failed" {error} (not live any more). */
export class Library extends EventTarget {
  /** @type {Map<string, any>} */
  jobs = new Map();
  /** @type {Map<string, JobRow>} */
  #rows = new Map();
  #shown = FIRST_SHOWN;
  #caughtUp = false;
  #failed = false;
  /** @type {any} */
  #watch = undefined;
  current = "";

  /**
   * @param {any} client
   * @param {import("./job-row.js").JobActions} actions
   */
  constructor(client, actions) {
    super();
    this.client = client;
    this.actions = actions;
    /** @type {"own" | "all"} */
    this.scope = recall("scope", String("own")) === "all" ? "all" : "own";
    this.render = throttled(() => this.#render(), 120);
    this.positions = new QueuePositions(client, () => this.jobs.values(), this.render);
    for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[name="scope"]'))) {
      radio.checked = radio.value === this.scope;
      radio.addEventListener("change", () => {
        this.scope = radio.value === "all" ? "all" : "own";
        remember("scope", this.scope);
        this.start();
      });
    }
    byId("show-more").addEventListener("click", () => {
      this.#shown += FIRST_SHOWN;
      this.#render();
    });
    // Times such as "5 min ago" grow old.
    setInterval(this.render, 30_000);
  }

  /** Watches; again after a change of the scope. */
  start() {
    this.#watch?.close();
    this.jobs.clear();
    this.#caughtUp = false;
    this.#failed = false;
    this.#shown = FIRST_SHOWN;
    /** @type {Record<string, string>} */
    const labels = this.scope === "own" ? { client: "web", browser: browserId() } : {};
    const watch = new JobsWatch(this.client, { labels });
    this.#watch = watch;
    const on = (/** @type {string} */ name, /** @type {(detail: any) => void} */ handle) =>
      watch.addEventListener(name, (/** @type {any} */ event) => {
        if (this.#watch === watch) handle(event.detail);
      });
    on("job", ({ job }) => this.add(job));
    on("progress", ({ jobId, runId, progress }) => {
      const job = this.jobs.get(jobId);
      if (job?.runId !== runId) return;
      job.progress = progress;
      this.render();
    });
    on("deleted", ({ jobId }) => {
      this.jobs.delete(jobId);
      this.dispatchEvent(new CustomEvent("deleted", { detail: { jobId } }));
      this.render();
      this.positions.refresh();
    });
    on("caughtup", () => {
      this.#caughtUp = true;
      this.render();
    });
    on("error", (detail) => {
      this.#failed = true;
      this.render();
      this.dispatchEvent(new CustomEvent("failed", { detail }));
    });
    on("connection", (detail) => this.dispatchEvent(new CustomEvent("connection", { detail })));
    watch.start();
    this.render();
  }

  /**
   * Takes a job in its newest state.
   * @param {any} job
   */
  add(job) {
    const known = this.jobs.get(job.jobId);
    if (known && (known === job || known.revision > job.revision || (known.runId === job.runId && known.revision === job.revision))) return;
    this.jobs.set(job.jobId, job);
    this.dispatchEvent(new CustomEvent("job", { detail: { job, before: known } }));
    this.render();
    this.positions.refresh();
  }

  /** @param {string} jobId the open job */
  select(jobId) {
    this.current = jobId;
    this.#render();
  }

  #render() {
    const jobs = [...this.jobs.values()].sort(byImportance);
    const [active, ended] = [jobs.filter((job) => !hasEnded(job)), jobs.filter(hasEnded)];
    const shown = ended.slice(0, this.#shown);
    for (const [jobId, row] of this.#rows) {
      if (this.jobs.has(jobId)) continue;
      row.element.remove();
      this.#rows.delete(jobId);
    }
    this.#place(byId("active-jobs"), active);
    this.#place(byId("ended-jobs"), shown);
    byId("ended-title").hidden = ended.length === 0;
    byId("show-more").hidden = ended.length <= shown.length;
    const empty = byId("library-empty");
    empty.hidden = jobs.length > 0 || byId("uploads").childElementCount > 0;
    const waiting = this.#failed ? "The list could not be loaded." : "Loading the list …";
    setText(empty, this.#caughtUp ? "No tracks yet. What you separate appears here." : waiting);
  }

  /**
   * @param {HTMLElement} list
   * @param {any[]} jobs
   */
  #place(list, jobs) {
    const rows = jobs.map((job) => {
      let row = this.#rows.get(job.jobId);
      if (!row) {
        row = new JobRow(job.jobId, this.actions);
        this.#rows.set(job.jobId, row);
      }
      row.show(job, job.jobId === this.current);
      return row.element;
    });
    // Only what moved is moved: an element that is taken out loses the focus.
    rows.forEach((row, index) => {
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    });
    while (list.children.length > rows.length) list.lastElementChild?.remove();
    list.hidden = rows.length === 0;
  }
}

/**
 * Running, then queued by position, then the newest.
 * @param {any} a
 * @param {any} b
 */
function byImportance(a, b) {
  if (a.state !== b.state && !(hasEnded(a) && hasEnded(b))) return rank(a) - rank(b);
  if (a.state === JobState.QUEUED) return (a.progress?.queuePosition ?? 0) - (b.progress?.queuePosition ?? 0);
  return Number((b.createTime?.seconds ?? 0n) - (a.createTime?.seconds ?? 0n)) || (b.createTime?.nanos ?? 0) - (a.createTime?.nanos ?? 0);
}

/** @param {any} job */
function rank(job) {
  return job.state === JobState.RUNNING ? 0 : job.state === JobState.QUEUED ? 1 : 2;
}
