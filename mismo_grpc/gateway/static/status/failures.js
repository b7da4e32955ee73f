/** Recent failures: jobs that failed, and failed stages of jobs that did not. */

import { element } from "../dom.js";
import { moment } from "./format.js";
import { remedyFor } from "./remedies.js";

export const SHOWN = 10;

/** The failures of these jobs (the JSON of GET /jobs), newest first, one for each job. */
export function failuresOf(jobs) {
  const found = new Map();
  for (const job of jobs) {
    const stage = job.stages.find((each) => each.status === "failed" && each.error);
    const error = job.error ?? stage?.error;
    if (!error) continue;
    const ended = job.completed_at ?? stage?.completed_at ?? job.created_at;
    found.set(job.job_id, {
      jobId: job.job_id, runId: job.run_id, error, at: new Date(ended), failed: job.status === "failed",
      stage: stage?.stage, replayable: job.dead_letter,
    });
  }
  return [...found.values()].sort((one, other) => other.at - one.at).slice(0, SHOWN);
}

/** The list of failures; rows of failures that were shown before stay, so that the focus stays in them. */
export class FailureList {
  /** @param {HTMLElement} list @param {HTMLElement} empty Shown without failures. @param {(failure: object) => Promise<string>} replay Replays a job; returns what to say. */
  constructor(list, empty, replay) {
    this.list = list;
    this.empty = empty;
    this.replay = replay;
    this.rows = new Map();
  }

  show(failures) {
    const rows = new Map();
    for (const failure of failures) {
      const key = `${failure.jobId} ${failure.runId} ${failure.at.getTime()}`;
      rows.set(key, this.rows.get(key) ?? this.#row(failure));
    }
    const same = rows.size === this.rows.size && [...rows.keys()].every((key, index) => key === [...this.rows.keys()][index]);
    this.rows = rows;
    if (!same) this.list.replaceChildren(...rows.values());
    this.empty.hidden = rows.size > 0;
  }

  #row(failure) {
    const { jobId, error } = failure;
    const answer = element("span", { class: "answer", role: "status" });
    const actions = element("div", { class: "actions" },
      element("a", { href: `/jobs/${encodeURIComponent(jobId)}` }, "Details", element("span", { class: "visually-hidden" }, ` of job ${jobId}`)));
    if (failure.replayable) {
      const button = element("button", { type: "button" }, "Replay", element("span", { class: "visually-hidden" }, ` job ${jobId}`));
      button.addEventListener("click", async () => {
        button.disabled = true;
        answer.textContent = "Replaying…";
        answer.textContent = await this.replay(failure);
        button.disabled = false;
      });
      actions.prepend(button);
    }
    actions.append(answer);
    return element("li", {},
      element("div", { class: "failure-head" },
        element("code", { class: "reason" }, error.code),
        element("span", { class: "where" }, failure.failed ? "Job failed" : "Job finished without this stage", failure.stage ? `: ${failure.stage.replaceAll("_", " ")}` : ""),
        element("time", { datetime: failure.at.toISOString() }, moment(failure.at))),
      element("p", { class: "failure-message" }, error.message),
      element("p", { class: "failure-remedy" }, remedyFor(error, failure.replayable)),
      element("div", { class: "failure-foot" }, element("span", { class: "job" }, "Job ", element("code", {}, jobId)), actions));
  }
}
