/** One open job: its state, what of it is ready, its peaks, and its player. */

import { hasEnded, JobState, makesStems, resultOf, Stage } from "../server/contract.js";
import { framesPerPixelFor, Peaks } from "../timeline/peaks.js";
import { RangeSet } from "../timeline/ranges.js";
import { strideOf } from "../timeline/segments.js";
import { errorOf, JobWatch, StemPlayer, watchWaveform } from "../server/client.js";

const ASK_MS = 20_000;
const EMPTY = Object.freeze({ beats: [], downbeats: [] });

/**
 * Events: "change" (job or connection), "stems" (names and length are known), "ready" (more frames), "peaks"
 * {start, end} in seconds, "player" (its state), "gone" (deleted, expired or replaced; see `gone`).
 */
export class TrackSession extends EventTarget {
  /** @type {any} */
  job = undefined;
  /** @type {"open" | "lost"} */
  connection = "open";
  /** @type {{kind: "deleted" | "replaced" | "failed", error?: any} | undefined} */
  gone = undefined;
  ready = new RangeSet();
  /** @type {Map<string, Peaks>} */
  peaks = new Map();
  /** @type {string[]} */
  stemNames = [];
  totalFrames = 0;
  sampleRate = 44100;
  framesPerPixel = 256;
  loudest = 0.25;
  /** @type {any} */
  player = undefined;
  #abort = new AbortController();
  #drawing = false;
  #refreshing = false;
  #rateTried = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #asking = undefined;

  /**
   * @param {any} client
   * @param {string} jobId
   * @param {(sampleRate: number) => AudioContext} audio the AudioContext of this track, at a rate in Hz
   */
  constructor(client, jobId, audio) {
    super();
    this.client = client;
    this.jobId = jobId;
    this.audio = audio;
    this.audioContext = audio(this.sampleRate);
  }

  get duration() {
    return this.totalFrames / this.sampleRate;
  }

  get secondsPerPixel() {
    return this.framesPerPixel / this.sampleRate;
  }

  get runId() {
    return this.job?.runId ?? "";
  }

  /** Whether stems are being made. */
  get separating() {
    return this.job?.state === JobState.RUNNING && this.totalFrames > 0 && this.ready.length < this.totalFrames;
  }

  /** Frames between the starts of two segments. */
  get stride() {
    const segment = this.player?.track?.segmentFrames || this.sampleRate * 7.8;
    return strideOf(segment, this.job?.options?.stems?.overlap);
  }

  /** @returns {{beats: readonly number[], downbeats: readonly number[], tempo?: number}} */
  get rhythm() {
    return resultOf(this.job, Stage.BASIC_FEATURES) ?? EMPTY;
  }

  /** @returns {readonly any[]} */
  get sections() {
    return resultOf(this.job, Stage.SECTIONS)?.sections ?? [];
  }

  /** @returns {readonly any[]} */
  get chords() {
    return resultOf(this.job, Stage.CHORDS)?.chords ?? [];
  }

  /** Begins to watch. */
  open() {
    const watch = new JobWatch(this.client, { jobId: this.jobId });
    this.watch = watch;
    const on = (/** @type {any} */ name, /** @type {(detail: any) => void} */ handle) =>
      watch.addEventListener(name, (/** @type {any} */ event) => handle(event.detail), { signal: this.#abort.signal });
    on("snapshot", ({ job }) => this.#take(job));
    on("stage", () => {
      // The form of the stems comes with the job, not with the stage.
      if (!this.totalFrames) void this.refresh();
      this.#emit("change");
    });
    on("segmentready", ({ ranges }) => {
      if (!this.job?.timeToFirstAudio) void this.refresh();
      this.#addReady(ranges);
    });
    on("progress", () => this.#emit("change"));
    on("terminal", ({ job }) => {
      this.#take(job);
      this.#keepAsking();
    });
    on("connection", ({ state }) => {
      this.connection = state;
      this.#emit("change");
    });
    on("error", ({ error }) => this.#fail(error));
    watch.start();
  }

  /**
   * Takes the job as the list knows it, if that is newer.
   * @param {any} job
   */
  merge(job) {
    if (this.job && !this.gone && (job.runId !== this.job.runId || job.revision > this.job.revision)) this.#take(job);
  }

  /** Ends all that goes on. */
  async close() {
    this.#abort.abort();
    clearInterval(this.#asking);
    this.watch?.close();
    this.peaks.clear();
    await this.player?.close();
  }

  /** @param {any} cause */
  #fail(cause) {
    const error = errorOf(cause);
    const kind = error.reason === "JOB_NOT_FOUND" ? "deleted" : error.reason === "RUN_REPLACED" ? "replaced" : "failed";
    this.gone = { kind, error };
    this.#emit("gone");
  }

  /** @param {any} job */
  #take(job) {
    if (this.job && this.job.runId !== job.runId) {
      this.gone = { kind: "replaced" };
      this.#emit("gone");
      return;
    }
    if (this.job && job.revision < this.job.revision) return;
    this.job = job;
    const set = job.stemSet;
    if (set?.sampleRate && !this.totalFrames) {
      this.sampleRate = set.sampleRate;
      this.totalFrames = Number(set.totalFrames);
      this.stemNames = [...set.stemNames];
      this.framesPerPixel = framesPerPixelFor(this.totalFrames);
      this.#emit("stems");
    }
    if (set?.ready) {
      this.#addReady(set.ready.map((/** @type {any} */ range) => ({ start: Number(range.startFrame), end: Number(range.endFrame) })));
    }
    if (!this.player && this.#playable()) void this.#openPlayer();
    if (this.totalFrames && !this.#drawing) void this.#drawPeaks();
    this.#emit("change");
  }

  /** Asks for the job as it is now. */
  async refresh() {
    if (this.#refreshing || this.gone) return;
    this.#refreshing = true;
    try {
      const { job } = await this.client.jobs.getJob({ jobId: this.jobId }, { signal: this.#abort.signal });
      if (job && !this.#abort.signal.aborted) this.#take(job);
    } catch (cause) {
      const error = errorOf(cause);
      if (!this.#abort.signal.aborted && error.reason === "JOB_NOT_FOUND") this.#fail(error);
    } finally {
      this.#refreshing = false;
    }
  }

  /** A job that has ended is watched no more: asks now and then whether it was deleted, has expired or has a new run. */
  #keepAsking() {
    clearInterval(this.#asking);
    this.#asking = setInterval(() => {
      if (!document.hidden) void this.refresh();
    }, ASK_MS);
  }

  /** @param {readonly {start: number, end: number}[]} ranges frames */
  #addReady(ranges) {
    const before = this.ready.length;
    for (const range of ranges) this.ready.add(range.start, range.end);
    if (this.ready.length !== before) this.#emit("ready");
  }

  #playable() {
    if (!makesStems(this.job)) return false;
    return !hasEnded(this.job) || (this.job.state === JobState.SUCCEEDED && this.totalFrames > 0);
  }

  /** @returns {Promise<void>} */
  async #openPlayer() {
    this.audioContext = this.audio(this.sampleRate);
    const player = new StemPlayer(this.client, { jobId: this.jobId, runId: this.runId, audioContext: this.audioContext });
    this.player = player;
    for (const name of ["statechange", "notready", "seeked", "ended"]) {
      player.addEventListener(name, () => this.#emit("player"), { signal: this.#abort.signal });
    }
    player.addEventListener("error", (/** @type {any} */ event) => {
      const error = errorOf(event.detail.error);
      if (error.reason === "SAMPLE_RATE" && !this.#rateTried) return;
      // The server has answered, and the player asks no more: its connection is not lost any longer.
      this.connection = "open";
      this.#emit("change");
      this.dispatchEvent(new CustomEvent("playererror", { detail: error }));
    }, { signal: this.#abort.signal });
    player.addEventListener("connection", (/** @type {any} */ event) => {
      this.connection = event.detail.state;
      this.#emit("change");
    }, { signal: this.#abort.signal });
    this.#emit("playeropened");
    try {
      await player.open();
    } catch (cause) {
      // The player's own "error" event told it, except for a model of another rate than usual.
      if (errorOf(cause).reason === "SAMPLE_RATE" && !this.#rateTried && !this.#abort.signal.aborted) {
        this.#rateTried = true;
        await player.close();
        await this.refresh();
        return this.#openPlayer();
      }
    }
    if (!this.#abort.signal.aborted) this.#emit("player");
  }

  async #drawPeaks() {
    this.#drawing = true;
    const { signal } = this.#abort;
    /** @type {string[]} */
    let names = [];
    try {
      await watchWaveform(this.client, this.jobId, {
        framesPerPixel: this.framesPerPixel,
        runId: this.runId,
        signal,
        onInfo: (/** @type {any} */ info) => {
          names = info.stemNames;
          for (const stem of names) if (!this.peaks.has(stem)) this.peaks.set(stem, new Peaks(Number(info.totalPixels)));
        },
        onRange: (/** @type {any} */ range) => this.#addPeaks(names[range.stem], range),
      });
    } catch (cause) {
      const error = errorOf(cause);
      // What ended the job is told by its state.
      if (!signal.aborted && !["JOB_FAILED", "JOB_NOT_READY", "JOB_NOT_FOUND", "RUN_REPLACED"].includes(error.reason)) {
        console.warn("the waveform ended", error.message);
      }
    }
  }

  /**
   * @param {string} stem
   * @param {{startPixel: number, min: Int16Array, max: Int16Array}} range
   */
  #addPeaks(stem, { startPixel, min, max }) {
    const peaks = this.peaks.get(stem);
    if (!peaks) return;
    peaks.write(startPixel, min, max);
    // In steps, so that a slightly louder sample does not draw all of the track again.
    const loudest = Math.max(0.25, Math.ceil((peaks.greatest / 32768) * 8) / 8);
    const all = loudest > this.loudest;
    if (all) this.loudest = loudest;
    const detail = all
      ? { start: -Infinity, end: Infinity }
      : { start: startPixel * this.secondsPerPixel, end: (startPixel + min.length) * this.secondsPerPixel };
    this.dispatchEvent(new CustomEvent("peaks", { detail }));
  }

  /** @param {string} name */
  #emit(name) {
    this.dispatchEvent(new Event(name));
  }
}
