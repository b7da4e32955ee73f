/** One uninterrupted stretch of playing: blocks of all stems, scheduled at the same context frames, without gaps. */

import type { SampleStore } from "./sample-store.js";

/** The first block starts so much later than now, because it must be prepared. */
const LEAD_SECONDS = 0.03;
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
  readonly #context: BaseAudioContext;
  readonly #store: SampleStore;
  readonly #gates: GainNode[];
  readonly #sources = new Set<AudioBufferSourceNode>();
  readonly #start: number;
  #entries: Entry[] = [];
  /** The context frame after the last block. */
  #end: number;

  /** `outputs`: a node for each stem. */
  constructor(context: BaseAudioContext, store: SampleStore, outputs: readonly AudioNode[], private readonly channels: number) {
    this.#context = context;
    this.#store = store;
    this.#start = Math.ceil((context.currentTime + LEAD_SECONDS) * context.sampleRate);
    this.#end = this.#start;
    this.#gates = outputs.map((output) => {
      const gate = context.createGain();
      gate.connect(output);
      gate.gain.setValueAtTime(0, 0);
      gate.gain.setValueAtTime(0, this.#time(this.#start));
      gate.gain.linearRampToValueAtTime(1, this.#time(this.#start) + FADE_SECONDS);
      return gate;
    });
  }

  /** Seconds that are scheduled and not played yet. */
  get aheadSeconds(): number {
    return this.#time(this.#end) - this.#context.currentTime;
  }

  /** Adds frames of all stems after the last ones. */
  extend(frame: number, count: number): void {
    const when = this.#time(this.#end);
    for (const [stem, gate] of this.#gates.entries()) {
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
      source.start(when);
    }
    this.#entries.push({ at: this.#end, frame, count });
    this.#end += count;
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
    const end = this.#time(this.#end);
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

  #time(contextFrame: number): number {
    return contextFrame / this.#context.sampleRate;
  }
}
