/** One uninterrupted stretch of playing: blocks of all stems, scheduled at the same context frames, without gaps. */

import type { SampleStore } from "./sample-store.js";

/** The first block starts so much later than now, and later than what the audio thread renders at once. */
const LEAD_SECONDS = 0.03;
/** What is started closer to now can be late. */
const MARGIN_SECONDS = 0.005;
/** Fades at both ends of a stretch, so that they do not click. */
const FADE_SECONDS = 0.005;

interface Entry {
  /** Context frame. */
  readonly at: number;
  /** Frame of the track. */
  readonly frame: number;
  readonly count: number;
}

/** Sources that were started; begin another schedule after `stop`. */
export class Schedule {
  readonly #context: AudioContext;
  readonly #store: SampleStore;
  readonly #gates: GainNode[];
  readonly #sources = new Set<AudioBufferSourceNode>();
  #entries: Entry[] = [];
  /** The context frame after the last block; undefined before the first one. */
  #end: number | undefined;

  /** `outputs`: a node for each stem. */
  constructor(
    context: AudioContext,
    store: SampleStore,
    outputs: readonly AudioNode[],
    private readonly channels: number,
  ) {
    this.#context = context;
    this.#store = store;
    this.#gates = outputs.map((output) => {
      const gate = context.createGain();
      gate.gain.value = 0;
      gate.connect(output);
      return gate;
    });
  }

  /** Nothing was added yet. */
  get isEmpty(): boolean {
    return this.#end === undefined;
  }

  /** All that was added is played. */
  get isOver(): boolean {
    return this.#end !== undefined && this.aheadSeconds <= 0;
  }

  /** Seconds that are scheduled and not played yet; not before the first block. */
  get aheadSeconds(): number {
    return this.#time(this.#end!) - this.#context.currentTime;
  }

  /**
   * Adds frames of all stems after the last ones. Returns false if the page was held up so long that some stem may have
   * begun late: then stop, and begin another schedule, because the stems are no longer in sync.
   */
  extend(frame: number, count: number): boolean {
    const sources = this.#gates.map((gate, stem) => this.#source(gate, stem, frame, count));
    const now = this.#context.currentTime;
    const begun = performance.now();
    const end = this.#end ?? this.#begin(now);
    const when = this.#time(end);
    for (const source of sources) source.start(when);
    this.#entries.push({ at: end, frame, count });
    this.#end = end + count;
    return when - now - (performance.now() - begun) / 1000 > MARGIN_SECONDS + this.#context.baseLatency;
  }

  /** The frame of the track that plays now; before the first block its first frame, after the last one its end. */
  position(): number {
    const now = this.#context.currentTime * this.#context.sampleRate;
    while (this.#entries.length > 1 && this.#entries[1]!.at <= now) this.#entries.shift();
    const entry = this.#entries[0]!;
    return entry.frame + Math.min(Math.max(0, Math.floor(now - entry.at)), entry.count);
  }

  /** Fades the last milliseconds, because nothing follows. */
  finish(): void {
    const end = this.#time(this.#end!);
    for (const { gain } of this.#gates) {
      gain.setValueAtTime(1, Math.max(this.#context.currentTime, end - FADE_SECONDS));
      gain.linearRampToValueAtTime(0, end);
    }
  }

  /** Fades out now and drops everything that is scheduled. */
  stop(): void {
    const now = this.#context.currentTime;
    for (const { gain } of this.#gates) {
      gain.cancelScheduledValues(now);
      gain.setTargetAtTime(0, now, FADE_SECONDS / 4);
    }
    for (const source of this.#sources) source.stop(now + 2 * FADE_SECONDS);
    const gates = this.#gates;
    setTimeout(() => gates.forEach((gate) => gate.disconnect()), 100);
  }

  /** Sets when the first block starts; returns the context frame. */
  #begin(now: number): number {
    const frame = Math.ceil((now + LEAD_SECONDS + 2 * this.#context.baseLatency) * this.#context.sampleRate);
    for (const { gain } of this.#gates) {
      gain.setValueAtTime(0, this.#time(frame));
      gain.linearRampToValueAtTime(1, this.#time(frame) + FADE_SECONDS);
    }
    return frame;
  }

  #source(gate: GainNode, stem: number, frame: number, count: number): AudioBufferSourceNode {
    const buffer = this.#context.createBuffer(this.channels, count, this.#context.sampleRate);
    this.#store.read(stem, frame, buffer);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(gate);
    this.#sources.add(source);
    source.addEventListener("ended", () => {
      source.disconnect();
      this.#sources.delete(source);
    });
    return source;
  }

  #time(contextFrame: number): number {
    return contextFrame / this.#context.sampleRate;
  }
}
