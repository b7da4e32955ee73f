/** The head of the open track: its name, what is known of it, and what can be done with it. */

import { jobTitle } from "../format/names.js";
import { clock, roughly } from "../format/time.js";
import { hasEnded, JobState, makesStems, Priority, resultOf, secondsOf, Stage, StageState } from "../server/contract.js";
import { explained } from "../server/remedies.js";
import { fill, h, icon, setAttribute, setText } from "../ui/dom.js";

/** @type {Record<number, string>} */
const STATES = {
  [JobState.QUEUED]: "Waiting", [JobState.RUNNING]: "Separating", [JobState.SUCCEEDED]: "Ready", [JobState.FAILED]: "Failed",
  [JobState.CANCELLED]: "Cancelled",
};
/** @type {Record<number, string>} */
const STAGE_NAMES = { [Stage.BASIC_FEATURES]: "tempo and key", [Stage.SECTIONS]: "sections", [Stage.CHORDS]: "chords" };

/**
 * A state of a job in one word.
 * @param {number} state
 */
export function stateWord(state) {
  return STATES[state] ?? "Unknown";
}

export class TrackHead {
  /** @param {{cancel: () => void, remove: () => void, replay: () => void, another: () => void, priority: (priority: number) => void}} act */
  constructor(act) {
    this.title = h("h1", { tabindex: -1, class: "track-title", "data-testid": "track-title" });
    this.facts = h("dl", { class: "facts", "data-testid": "facts" });
    this.progress = h("progress", { class: "bar", max: 1, value: 0, "aria-label": "Progress of the job", "data-testid": "job-progress" });
    this.priority = h("select", {
      class: "select small", "aria-label": "Priority", "data-testid": "track-priority",
      on: { change: () => act.priority(Number(this.priority.value)) },
    }, [[Priority.LOW, "Low priority"], [Priority.NORMAL, "Normal priority"], [Priority.HIGH, "High priority"]].map(([value, text]) => h("option", { value }, text)));
    this.cancel = this.#button("Cancel", "stop", "cancel", act.cancel);
    this.replay = this.#button("Try again", "replay", "replay", act.replay);
    this.remove = this.#button("Delete", "trash", "delete", act.remove);
    this.another = this.#button("Process another", "plus", "process-another", act.another);
    this.notes = h("ul", { class: "notes", role: "list", "data-testid": "track-notes" });
    this.element = h("header", { class: "track-head" },
      h("div", { class: "track-line" }, this.title,
        h("div", { class: "track-actions" }, this.priority, this.cancel, this.replay, this.remove, this.another)),
      this.facts, this.progress, this.notes);
  }

  /** @param {any} job */
  show(job) {
    const title = jobTitle(job);
    setText(this.title, title);
    const ended = hasEnded(job);
    const failed = job.state === JobState.FAILED;
    this.cancel.hidden = ended;
    this.priority.hidden = ended;
    // Its list may be open.
    if (document.activeElement !== this.priority) this.priority.value = String(job.priority || Priority.NORMAL);
    this.remove.hidden = !ended;
    this.replay.hidden = !(failed && (job.deadLetter || job.error?.retryable));
    this.progress.hidden = ended;
    this.progress.value = job.progress?.fraction ?? 0;
    setAttribute(this.element, "data-state", stateWord(job.state).toLowerCase());
    fill(this.facts, factsOf(job).map(([name, value]) => h("div", { "data-fact": name.toLowerCase() }, h("dt", {}, name), h("dd", {}, value))));
    fill(this.notes, notesOf(job).map((text) => h("li", { class: failed ? "bad" : "warn" }, text)));
    this.notes.hidden = !this.notes.childElementCount;
  }

  /**
   * @param {string} label
   * @param {string} picture
   * @param {string} id
   * @param {() => void} click
   */
  #button(label, picture, id, click) {
    return h("button", { type: "button", class: "button small", "data-testid": id, on: { click } }, icon(picture), label);
  }
}

/**
 * @param {any} job
 * @returns {[name: string, value: string][]}
 */
function factsOf(job) {
  /** @type {[string, string][]} */
  const facts = [["State", job.state === JobState.RUNNING && !makesStems(job) ? "Analysing" : stateWord(job.state)]];
  const features = resultOf(job, Stage.BASIC_FEATURES);
  if (features?.tempo) facts.push(["Tempo", `${features.tempo.toFixed(1)} BPM`]);
  if (features?.key) facts.push(["Key", `${features.key.name} · ${features.key.camelot}`]);
  if (features?.beatsPerBar) facts.push(["Metre", `${features.beatsPerBar}/4`]);
  if (features?.integratedLufs !== undefined) facts.push(["Loudness", `${features.integratedLufs.toFixed(1)} LUFS`]);
  const { stemSet } = job;
  if (stemSet?.sampleRate) {
    facts.push(["Length", clock(Number(stemSet.totalFrames) / stemSet.sampleRate)]);
  }
  if (job.model) facts.push(["Model", job.model]);
  const first = secondsOf(job.timeToFirstAudio);
  if (first !== undefined) facts.push(["First sound after", first < 10 ? `${first.toFixed(1)} s` : roughly(first)]);
  return facts;
}

/**
 * What a person should know: failures with what to do, warnings, what expires.
 * @param {any} job
 * @returns {string[]}
 */
function notesOf(job) {
  const notes = [];
  if (job.state === JobState.FAILED && job.error) notes.push(explained(job.error));
  if (job.fallbackFrom) notes.push(`${job.fallbackFrom} is not installed: ${job.model} was used.`);
  for (const status of job.stages) {
    const name = STAGE_NAMES[status.stage];
    if (!name || !status.error || job.state === JobState.FAILED) continue;
    const again = status.state === StageState.PENDING ? " It will be tried again." : "";
    notes.push(`No ${name}: ${explained(status.error)}${again}`);
  }
  notes.push(...job.warnings.filter((/** @type {string} */ warning) => !job.fallbackFrom || !warning.includes(job.fallbackFrom)));
  return notes;
}
