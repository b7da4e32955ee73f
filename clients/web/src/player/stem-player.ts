/** Plays the stems of a job in sync, while they are made. */

import { Code } from "@connectrpc/connect";

import type { MismoClient } from "../client.js";
import { Emitter } from "../events.js";
import type { Range } from "../ranges.js";
import { errorOf, MismoError } from "../rpc/errors.js";
import { type StemEvent, StemStream } from "../stems/stem-stream.js";
import type { TrackInfo } from "../stems/track-info.js";
import { missing, stretches } from "./fetching.js";
import { Mixer } from "./mixer.js";
import type { NotReadyDetail, PlayerState, StemPlayerEvents, StemPlayerOptions } from "./player-types.js";
import { BLOCK_FRAMES, SampleStore } from "./sample-store.js";
import { Schedule } from "./schedule.js";
import { type StemChannel, within } from "./stem-channel.js";

/** Audio that stays after it was played, for short seeks back. Four stereo stems of `windowSeconds` 30 take 29 MB. */
const KEEP_SECONDS = 10;
/** So much is handed to the browser: timers of hidden pages fire once a second. */
const AHEAD_SECONDS = 3;
/** With less scheduled, more would come too late for some stem. */
const LATE_SECONDS = 0.06;
/** With less scheduled and nothing to follow, the stretch is ended with a fade. */
const LAST_SECONDS = 0.12;
const TICK_MS = 100;
/** The shortest loop. */
const LOOP_SECONDS = 0.02;

/**
 * A player of all stems of one job. Open it at once after the submit: it plays as soon as the audio at its position is
 * there, and its position tells the server what to separate next.
 */
export class StemPlayer extends Emitter<StemPlayerEvents> {
  readonly #options: Required<Pick<StemPlayerOptions, "windowSeconds" | "startSeconds">> & StemPlayerOptions;
  readonly #stream: StemStream;
  #state: PlayerState = "opening";
  #opening: Promise<TrackInfo> | undefined;
  #track: TrackInfo | undefined;
  #store: SampleStore | undefined;
  #mixer: Mixer | undefined;
  #schedule: Schedule | undefined;
  /** The frame after the last scheduled one; while nothing is scheduled, where playing will begin. */
  #head = 0;
  /** The running schedule ends at #head, and nothing is added any more. */
  #finishing = false;
  /** The user wants to hear something. */
  #wanted = false;
  #seekSeconds = 0;
  #isSeeking = false;
  #loop: Range | undefined;
  #volume = 1;
  #notReady: NotReadyDetail | undefined;
  #failure: MismoError | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  constructor(client: MismoClient, options: StemPlayerOptions) {
    super();
    this.#options = { windowSeconds: 30, startSeconds: 0.2, ...options };
    const { jobId, runId } = options;
    this.#stream = new StemStream(client, runId === undefined ? { jobId } : { jobId, runId });
  }

  get state(): PlayerState {
    return this.#state;
  }

  /** The position in seconds. While it plays, what the audio hardware is given now. */
  get currentTime(): number {
    return this.#track === undefined ? this.#seekSeconds : this.#position() / this.#track.sampleRate;
  }

  /** Seconds; 0 before the track is known. */
  get duration(): number {
    return this.#track?.duration ?? 0;
  }

  /** The seconds around the position that can be played now. */
  get buffered(): Range {
    const time = this.currentTime;
    if (this.#track === undefined || this.#store === undefined) return { start: time, end: time };
    const { start, end } = this.#store.around(this.#position());
    return { start: start / this.#track.sampleRate, end: end / this.#track.sampleRate };
  }

  /** Undefined until the track is decoded. */
  get track(): TrackInfo | undefined {
    return this.#track;
  }

  /** One for each stem of the track; empty until it is decoded. */
  get stems(): readonly StemChannel[] {
    return this.#mixer?.stems ?? [];
  }

  /** Why the audio to come is not there; undefined while it is. */
  get notReady(): NotReadyDetail | undefined {
    return this.#notReady;
  }

  /** The mix, for recording or further effects; undefined until the track is decoded. */
  get output(): AudioNode | undefined {
    return this.#mixer?.output;
  }

  /** Bytes of the audio that is held. */
  get bufferedBytes(): number {
    return this.#store?.bytes ?? 0;
  }

  /** Volume of the mix, 0 to 1. */
  get volume(): number {
    return this.#volume;
  }

  set volume(value: number) {
    this.#volume = within(value, 0, 1);
    if (this.#mixer !== undefined) this.#mixer.volume = value;
  }

  /** The seconds that repeat; null for none. A position after the loop moves to its start. */
  get loop(): Range | null {
    const rate = this.#track?.sampleRate ?? 1;
    return this.#loop === undefined ? null : { start: this.#loop.start / rate, end: this.#loop.end / rate };
  }

  /** Throws RangeError; MismoError before the track is known. */
  set loop(value: Range | null) {
    const track = this.#requireTrack();
    if (value !== null) {
      within(value.start, 0, value.end - LOOP_SECONDS);
      within(value.end, 0, track.duration + LOOP_SECONDS);
    }
    const frames = (seconds: number): number => Math.min(track.totalFrames, Math.round(seconds * track.sampleRate));
    this.#loop = value === null ? undefined : { start: frames(value.start), end: frames(value.end) };
    const position = this.#position();
    // What is scheduled was meant for the way without the loop.
    this.#moveTo(this.#loop !== undefined && position >= this.#loop.end ? this.#loop.start : position);
  }

  /** Connects; resolves once the track is known, which is when it is decoded. Throws MismoError. */
  open(): Promise<TrackInfo> {
    this.#opening ??= new Promise((resolve, reject) => void this.#read(resolve, reject));
    return this.#opening;
  }

  /** Plays as soon as audio is there; resolves when it is heard, or when the player was paused or closed meanwhile. */
  async play(): Promise<void> {
    this.#wanted = true;
    await this.open();
    if (this.#state === "ended") this.#moveTo(this.#loop?.start ?? 0);
    // Browsers let a page make sound after the user has touched it.
    void this.#mixer?.context.resume();
    this.#tick();
    if (this.#state === "playing" || !this.#wanted) return;
    await new Promise<void>((resolve, reject) => {
      const end = this.on("statechange", ({ state }) => {
        if (state === "buffering" || state === "opening") return;
        end();
        if (state === "failed") reject(this.#failure ?? closedError());
        else resolve();
      });
    });
  }

  /** Stops at the present position. */
  pause(): void {
    this.#wanted = false;
    if (this.#track === undefined || this.#state === "ended" || this.#state === "failed") return;
    this.#head = this.#position();
    this.#stopSchedule();
    this.#setState("paused");
  }

  /** Goes to a position in seconds. The server separates there next. */
  seek(seconds: number): void {
    this.#seekSeconds = Math.max(0, seconds);
    this.#isSeeking = true;
    if (this.#track === undefined) return;
    const frame = Math.round(this.#seekSeconds * this.#track.sampleRate);
    this.#moveTo(Math.min(frame, this.#track.totalFrames - 1));
  }

  /** Ends the stream and frees everything. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#wanted = false;
    clearInterval(this.#timer);
    this.#stopSchedule();
    this.#stream.close();
    if (this.#state !== "ended" && this.#state !== "failed") this.#setState("paused");
    // A context that other players share would keep this one alive.
    this.#mixer?.context.removeEventListener("statechange", this.#onContextChange);
    await this.#mixer?.close();
  }

  async #read(opened: (track: TrackInfo) => void, refused: (error: MismoError) => void): Promise<void> {
    try {
      for await (const event of this.#stream) {
        if (this.#isClosed) break;
        if (event.type === "info") {
          this.#begin(event.track);
          opened(event.track);
        } else this.#receive(event);
        this.#tick();
      }
      refused(closedError());
    } catch (cause) {
      if (this.#isClosed) return refused(closedError());
      this.#failure = errorOf(cause);
      this.emit("error", { error: this.#failure });
      if (this.#track === undefined) this.#setState("failed");
      refused(this.#failure);
      this.#tick();
    }
  }

  readonly #onContextChange = (): void => this.#tick();

  #begin(track: TrackInfo): void {
    const mixer = new Mixer(track, this.#options.audioContext, this.#volume);
    this.#mixer = mixer;
    this.#store = new SampleStore(track.stemNames.length, track.channels);
    this.#track = track;
    this.#head = Math.min(Math.round(this.#seekSeconds * track.sampleRate), track.totalFrames - 1);
    mixer.context.addEventListener("statechange", this.#onContextChange);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#setState(this.#wanted ? "buffering" : "paused");
    if (this.#wanted) void mixer.context.resume();
  }

  #receive(event: StemEvent): void {
    switch (event.type) {
      case "chunk":
        this.#store!.write(event.stem, event.startFrame, event.samples);
        this.#setNotReady(undefined);
        break;
      case "notready":
        this.#setNotReady({ reason: event.reason, expectedSeconds: event.expectedSeconds });
        break;
      case "connection":
        this.emit("connection", event.error ? { state: event.state, error: event.error } : { state: event.state });
        break;
    }
  }

  /** Does what is due: fetches, schedules, and finds out whether audio ran out. */
  #tick(): void {
    if (this.#track === undefined || this.#isClosed) return;
    this.#fetch();
    if (this.#schedule !== undefined) this.#extend(this.#schedule);
    else if (this.#state !== "ended") this.#tryStart();
  }

  #fetch(): void {
    const track = this.#track!;
    const [store, loop, position] = [this.#store!, this.#loop, this.#position()];
    const frames = (seconds: number): number => Math.round(seconds * track.sampleRate);
    const window = frames(this.#options.windowSeconds);
    const way = { position, totalFrames: track.totalFrames, loop, window };
    const kept = stretches(way).map((range) => ({ start: range.start, end: range.end + BLOCK_FRAMES }));
    kept.push({ start: position - frames(KEEP_SECONDS), end: position });
    if (loop !== undefined && loop.end - loop.start <= window) kept.push(loop);
    store.retain(kept);
    const gap = missing(way, (frame) => store.endFrom(frame));
    if (gap === undefined || this.#failure !== undefined) return;
    if (this.#stream.nextFrame === gap.frame) this.#stream.allowUntil(gap.until);
    else this.#stream.seek(gap.frame, gap.until);
  }

  /** The end of the stretch of the track that plays at a frame. */
  #limit(frame: number): number {
    return this.#loop !== undefined && frame < this.#loop.end ? this.#loop.end : this.#track!.totalFrames;
  }

  #tryStart(): void {
    const track = this.#track!;
    const available = this.#store!.endFrom(this.#head) - this.#head;
    const wanted = Math.round(this.#options.startSeconds * track.sampleRate);
    const isReady = available >= Math.min(wanted, this.#limit(this.#head) - this.#head);
    if (this.#isSeeking && isReady) {
      this.#isSeeking = false;
      this.emit("seeked", { time: this.#head / track.sampleRate });
    }
    if (this.#failure !== undefined && !isReady) return this.#setState("failed");
    if (!this.#wanted) return;
    if (!isReady || this.#mixer!.context.state !== "running") return this.#setState("buffering");
    const { context, stems } = this.#mixer!;
    const inputs = stems.map((stem) => stem.input);
    this.#schedule = new Schedule(context, this.#store!, inputs, track.channels);
    this.#finishing = false;
    this.#extend(this.#schedule);
    if (this.#schedule !== undefined) this.#setState("playing");
  }

  #extend(schedule: Schedule): void {
    const { totalFrames } = this.#track!;
    let ahead = schedule.isEmpty ? 0 : schedule.aheadSeconds;
    while (!this.#finishing && ahead < AHEAD_SECONDS && (schedule.isEmpty || ahead > LATE_SECONDS)) {
      const limit = this.#limit(this.#head);
      const count = Math.min(this.#store!.endFrom(this.#head), limit, this.#head + BLOCK_FRAMES) - this.#head;
      // Small blocks cost more than they bring, unless they are needed now.
      const isLarge = count === BLOCK_FRAMES || this.#head + count === limit;
      if (count <= 0 || (!isLarge && ahead > 1)) break;
      if (!schedule.extend(this.#head, count)) {
        this.#head = schedule.position();
        this.#stopSchedule();
        return;
      }
      this.#head += count;
      if (this.#loop !== undefined && this.#head === this.#loop.end) this.#head = this.#loop.start;
      if (this.#head === totalFrames) this.#finishing = true;
      ahead = schedule.aheadSeconds;
    }
    if (!this.#finishing && ahead < LAST_SECONDS) {
      this.#finishing = true;
      schedule.finish();
    }
    if (this.#finishing && ahead <= 0) this.#ranOut(totalFrames);
  }

  #ranOut(totalFrames: number): void {
    this.#schedule = undefined;
    if (this.#head < totalFrames) return this.#tryStart();
    this.#wanted = false;
    this.#setState("ended");
    this.emit("ended", undefined);
  }

  #position(): number {
    return this.#schedule?.position() ?? this.#head;
  }

  #moveTo(frame: number): void {
    this.#stopSchedule();
    this.#head = frame;
    this.#setNotReady(undefined);
    if (this.#state === "ended") this.#setState(this.#wanted ? "buffering" : "paused");
    this.#tick();
  }

  #stopSchedule(): void {
    this.#schedule?.stop();
    this.#schedule = undefined;
  }

  #setState(state: PlayerState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("statechange", { state });
  }

  #setNotReady(detail: NotReadyDetail | undefined): void {
    if (detail === undefined && this.#notReady === undefined) return;
    this.#notReady = detail;
    this.emit("notready", detail);
  }

  #requireTrack(): TrackInfo {
    if (this.#track === undefined) {
      throw new MismoError(Code.FailedPrecondition, "the track is not known yet; await open() first", { reason: "NOT_OPEN" });
    }
    return this.#track;
  }
}

function closedError(): MismoError {
  return new MismoError(Code.Canceled, "the player is closed", { reason: "CANCELLED" });
}
