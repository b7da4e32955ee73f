/** Which track is open: follows the address (`#job=ID`), and does what its buttons say. */

import { jobTitle } from "../format/names.js";
import { hasEnded } from "../server/contract.js";
import { explained } from "../server/remedies.js";
import { TrackSession } from "../track/session.js";
import { TrackView } from "../track/view.js";
import { confirmed } from "../ui/confirm.js";
import { byId } from "../ui/dom.js";
import { notify } from "../ui/notices.js";
import { errorOf } from "../server/client.js";

const TITLE = "Stems · mismo";

export class Tracks {
  /** @type {TrackSession | undefined} */
  session = undefined;
  /** @type {TrackView | undefined} */
  view = undefined;
  /** @type {AudioContext | undefined} */
  #audio = undefined;
  /** The job that plays as soon as it is open, because a gesture asked for it. */
  #autoplay = "";
  /** The job that the person deletes now: that it is gone is no news. */
  #removing = "";

  /**
   * @param {any} client
   * @param {{select: (jobId: string) => void, connection: (state: "open" | "lost", error?: any) => void, add: (job: any) => void}} page
   */
  constructor(client, page) {
    this.client = client;
    this.page = page;
    window.addEventListener("hashchange", () => this.follow());
    // A job that has ended is watched no more; meanwhile it may have been deleted, or replaced by a new run.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.session?.refresh();
    });
    this.actions = {
      cancel: (/** @type {any} */ job) => this.#try("The job could not be cancelled", async () => {
        this.page.add((await client.jobs.cancelJob({ jobId: job.jobId, expectedRunId: job.runId })).job);
      }),
      remove: (/** @type {any} */ job) => this.#remove(job),
      replay: (/** @type {any} */ job) => this.#try("The job could not be tried again", async () => {
        const { job: replayed } = await client.jobs.replayJob({ jobId: job.jobId, expectedRunId: job.runId });
        if (this.session?.jobId === job.jobId) this.#open(job.jobId);
        this.page.add(replayed);
      }),
      prioritise: (/** @type {any} */ job, /** @type {number} */ priority) => this.#try("The priority could not be changed", async () => {
        this.page.add((await client.jobs.updateJob({ jobId: job.jobId, expectedRunId: job.runId, priority })).job);
      }),
    };
  }

  /**
   * The AudioContext of the track that is open or comes next; made or woken by a gesture.
   * @param {number} [sampleRate] Hz; stems are not resampled block by block
   */
  wakeAudio(sampleRate = 44100) {
    if (this.#audio && this.#audio.sampleRate !== sampleRate) {
      void this.#audio.close().catch(() => undefined);
      this.#audio = undefined;
    }
    this.#audio ??= new AudioContext({ latencyHint: "interactive", sampleRate });
    if (this.#audio.state === "suspended") void this.#audio.resume();
    return this.#audio;
  }

  /**
   * Opens a job and plays it as soon as there is sound.
   * @param {string} jobId
   * @param {boolean} play
   */
  show(jobId, play) {
    this.#autoplay = play ? jobId : "";
    const hash = `#job=${encodeURIComponent(jobId)}`;
    if (location.hash === hash) this.follow();
    else location.hash = hash;
  }

  /** Opens what the address names. */
  follow() {
    const jobId = jobOf(location.hash);
    if (jobId && jobId === this.session?.jobId) return;
    if (jobId) this.#open(jobId);
    else this.#home();
  }

  /**
   * A job of the list was deleted or has expired.
   * @param {string} jobId
   */
  deleted(jobId) {
    if (jobId !== this.#removing && this.session?.jobId === jobId && !this.session.gone) this.#gone(jobId, "deleted");
  }

  /** @param {string} jobId */
  #open(jobId) {
    this.#close();
    const session = new TrackSession(this.client, jobId, (sampleRate) => this.wakeAudio(sampleRate));
    this.session = session;
    const view = new TrackView(session, {
      cancel: () => session.job && this.actions.cancel(session.job),
      remove: () => session.job && this.actions.remove(session.job),
      replay: () => session.job && this.actions.replay(session.job),
      priority: (priority) => session.job && this.actions.prioritise(session.job, priority),
      another: () => {
        location.hash = "";
      },
    }, { playAtOnce: this.#autoplay === jobId });
    this.#autoplay = "";
    this.view = view;
    byId("track").replaceChildren(view.element);
    byId("track").hidden = false;
    byId("home").hidden = true;
    document.body.dataset.page = "track";
    window.scrollTo(0, 0);
    session.addEventListener("change", () => {
      this.page.connection(session.connection);
      if (session.job) {
        document.title = `${jobTitle(session.job)} · mismo`;
        this.page.add(session.job);
      }
    });
    session.addEventListener("gone", () => this.#gone(jobId, session.gone?.kind ?? "failed", session.gone?.error));
    session.addEventListener("playererror", (/** @type {any} */ event) => this.#playerFailed(session, event.detail));
    session.open();
    this.page.select(jobId);
    view.head.title.focus({ preventScroll: true });
  }

  #home() {
    const wasOpen = this.session !== undefined;
    this.#close();
    byId("track").hidden = true;
    byId("home").hidden = false;
    document.body.dataset.page = "home";
    document.title = TITLE;
    this.page.select("");
    if (location.hash === "#options") {
      byId("options").scrollIntoView();
      byId("option-model").focus({ preventScroll: true });
    } else if (wasOpen) byId("choose").focus({ preventScroll: true });
  }

  #close() {
    this.view?.destroy();
    const { session } = this;
    if (session) {
      // A context of its own for each track: what the player of the last one left in it goes with it.
      this.#audio = undefined;
      void session.close().finally(() => session.audioContext?.close());
    }
    this.view = undefined;
    this.session = undefined;
  }

  /**
   * The job cannot be shown any more.
   * @param {string} jobId
   * @param {"deleted" | "replaced" | "failed"} kind
   * @param {any} [error]
   */
  #gone(jobId, kind, error) {
    if (this.session?.jobId !== jobId || jobId === this.#removing) return;
    if (kind === "replaced") {
      notify("This job has a new run", {
        kind: "warn", key: "gone", text: "What you see is of the run before.",
        action: { label: "Load the new run", run: () => this.#open(jobId) },
      });
      return;
    }
    const title = this.session.job ? jobTitle(this.session.job) : "This job";
    if (kind === "deleted") {
      const expired = hasExpired(this.session.job);
      const what = !this.session.job ? "is not on the server" : expired ? "has expired" : "was deleted";
      notify(`${title} ${what}`, { kind: "warn", key: "gone", text: "Drop the track again to separate it anew." });
      location.hash = "";
    } else {
      notify(`${title} cannot be shown`, {
        kind: "bad", key: "gone", text: explained(error), action: { label: "Try again", run: () => this.#open(jobId) },
      });
    }
  }

  /**
   * @param {TrackSession} session
   * @param {any} error
   */
  #playerFailed(session, error) {
    if (session !== this.session || session.gone) return;
    if (error.reason === "RUN_REPLACED") this.#gone(session.jobId, "replaced");
    else if (error.reason === "JOB_NOT_FOUND") this.#gone(session.jobId, "deleted");
    // The head of the track tells this already.
    else if (error.reason !== "JOB_FAILED" && !hasEndedBadly(session.job)) {
      notify("The player has stopped", {
        kind: "bad", key: "player", text: explained(error), action: { label: "Load again", run: () => this.#open(session.jobId) },
      });
    }
  }

  /** @param {any} job */
  async #remove(job) {
    const title = jobTitle(job);
    const sure = await confirmed(`Delete “${title}”?`, "Its stems and analyses are removed from the server. This cannot be undone.", "Delete");
    if (!sure) return;
    this.#removing = job.jobId;
    await this.#try("The job could not be deleted", async () => {
      await this.client.jobs.deleteJob({ jobId: job.jobId, expectedRunId: job.runId, allowMissing: true });
      const open = this.session?.jobId === job.jobId;
      if (open) location.hash = "";
      notify(`“${title}” was deleted`, { kind: "good" });
    });
  }

  /**
   * @param {string} problem what to say if it fails
   * @param {() => Promise<void>} run
   */
  async #try(problem, run) {
    try {
      await run();
    } catch (cause) {
      notify(problem, { kind: "bad", text: explained(errorOf(cause)) });
    }
  }
}

/** @param {string} hash */
export function jobOf(hash) {
  const found = /^#job=([A-Za-z0-9._%-]{1,384})$/.exec(hash)?.[1];
  try {
    return found ? decodeURIComponent(found) : "";
  } catch {
    return "";
  }
}

/** @param {any} job */
function hasExpired(job) {
  return job?.expireTime !== undefined && Number(job.expireTime.seconds) <= Date.now() / 1000 + 1;
}

/** @param {any} job */
function hasEndedBadly(job) {
  return hasEnded(job) && job.state > 3;
}
