/** One job in the list. */

import { jobTitle } from "../format/names.js";
import { ago, clock, roughly } from "../format/time.js";
import { hasEnded, JobState, Priority, resultOf, secondsOf, Stage } from "../server/contract.js";
import { h, iconButton, setAttribute, setText } from "../ui/dom.js";

/**
 * @typedef {object} JobActions
 * @property {(job: any) => void} cancel
 * @property {(job: any) => void} remove
 * @property {(job: any) => void} replay
 * @property {(job: any, priority: number) => void} prioritise
 */

export class JobRow {
  /** @type {any} */
  job = undefined;

  /**
   * @param {string} jobId
   * @param {JobActions} actions
   */
  constructor(jobId, actions) {
    this.title = h("span", { class: "row-title" });
    this.detail = h("span", { class: "row-detail", "data-testid": "job-detail" });
    this.mark = h("span", { class: "row-mark", "aria-hidden": "true" });
    this.progress = h("progress", { class: "bar thin", max: 1, value: 0, "aria-label": "Progress" });
    this.link = h("a", { class: "row-link", href: `#job=${encodeURIComponent(jobId)}`, "data-testid": "job-open" }, this.mark,
      h("span", { class: "row-text" }, this.title, this.detail));
    this.priority = prioritySelect("job-priority", (priority) => actions.prioritise(this.job, priority));
    this.cancel = iconButton("stop", "Cancel", { "data-testid": "job-cancel", on: { click: () => actions.cancel(this.job) } });
    this.replay = iconButton("replay", "Try again", { "data-testid": "job-replay", on: { click: () => actions.replay(this.job) } });
    this.remove = iconButton("trash", "Delete", { "data-testid": "job-delete", on: { click: () => actions.remove(this.job) } });
    this.element = h("li", { class: "row", "data-testid": "job", "data-job": jobId }, this.link,
      h("div", { class: "row-actions" }, this.priority, this.cancel, this.replay, this.remove), this.progress);
  }

  /**
   * @param {any} job
   * @param {boolean} current whether it is open
   */
  show(job, current) {
    this.job = job;
    const title = jobTitle(job);
    const ended = hasEnded(job);
    setText(this.title, title);
    this.title.title = title;
    setText(this.detail, detailOf(job));
    setAttribute(this.element, "data-state", STATE_NAMES[job.state] ?? "unknown");
    setAttribute(this.link, "aria-current", current ? "true" : null);
    this.progress.hidden = job.state !== JobState.RUNNING;
    this.progress.value = job.progress?.fraction ?? 0;
    setAttribute(this.progress, "aria-label", `Progress of ${title}`);
    this.priority.hidden = ended;
    if (document.activeElement !== this.priority) this.priority.value = String(job.priority || Priority.NORMAL);
    setAttribute(this.priority, "aria-label", `Priority of ${title}`);
    this.cancel.hidden = ended;
    this.replay.hidden = !(job.state === JobState.FAILED && (job.deadLetter || job.error?.retryable));
    this.remove.hidden = !ended;
    for (const [button, verb] of /** @type {const} */ ([[this.cancel, "Cancel"], [this.replay, "Try again:"], [this.remove, "Delete"]])) {
      setAttribute(button, "aria-label", `${verb} ${title}`);
    }
  }
}

/** @type {Record<number, string>} */
const STATE_NAMES = {
  [JobState.QUEUED]: "queued", [JobState.RUNNING]: "running", [JobState.SUCCEEDED]: "succeeded", [JobState.FAILED]: "failed",
  [JobState.CANCELLED]: "cancelled",
};

/**
 * A choice of priority.
 * @param {string} id
 * @param {(priority: number) => void} choose
 */
export function prioritySelect(id, choose) {
  const select = h("select", { class: "select tiny", "data-testid": id, on: { change: () => choose(Number(select.value)) } },
    [[Priority.LOW, "Low"], [Priority.NORMAL, "Normal"], [Priority.HIGH, "High"]].map(([value, text]) => h("option", { value, selected: value === Priority.NORMAL }, text)));
  return select;
}

/** @param {any} job */
function detailOf(job) {
  const { progress } = job;
  switch (job.state) {
    case JobState.QUEUED:
      return progress?.queuePosition ? `In the queue, number ${progress.queuePosition}` : "In the queue";
    case JobState.RUNNING: {
      const eta = secondsOf(progress?.eta);
      return `${Math.round((progress?.fraction ?? 0) * 100)} %${eta ? `, ${roughly(eta)} left` : ""}`;
    }
    case JobState.FAILED:
      return job.error?.message ? `Failed: ${job.error.message}` : "Failed";
    default: {
      const features = resultOf(job, Stage.BASIC_FEATURES);
      const length = job.stemSet?.sampleRate ? clock(Number(job.stemSet.totalFrames) / job.stemSet.sampleRate) : "";
      const tempo = features?.tempo ? `${Math.round(features.tempo)} BPM` : "";
      const key = features?.key?.camelot ?? "";
      const when = ago(Date.now() / 1000 - (secondsOf(job.endTime) ?? Date.now() / 1000));
      return [job.state === JobState.CANCELLED ? "Cancelled" : "", length, tempo, key, when].filter(Boolean).join(" · ");
    }
  }
}
