/** The audio of all stems that a player holds, in blocks. */

import { type Range, RangeSet } from "../ranges.js";

/** Frames of a block: 0.37 s at 44.1 kHz. */
export const BLOCK_FRAMES = 1 << 14;

/** Holds 16-bit samples by stem and frame. Its size is bounded by what `retain` keeps. */
export class SampleStore {
  readonly #blocks: Map<number, Int16Array>[];
  readonly #ranges: RangeSet[];

  constructor(
    stems: number,
    private readonly channels: number,
  ) {
    this.#blocks = Array.from({ length: stems }, () => new Map());
    this.#ranges = Array.from({ length: stems }, () => new RangeSet());
  }

  /** Bytes of all blocks. */
  get bytes(): number {
    const count = this.#blocks.reduce((sum, blocks) => sum + blocks.size, 0);
    return count * BLOCK_FRAMES * this.channels * Int16Array.BYTES_PER_ELEMENT;
  }

  /** Stores interleaved samples of a stem. */
  write(stem: number, startFrame: number, samples: Int16Array): void {
    const blocks = this.#blocks[stem]!;
    const frames = samples.length / this.channels;
    for (let at = 0; at < frames; ) {
      const frame = startFrame + at;
      const index = Math.floor(frame / BLOCK_FRAMES);
      const offset = frame - index * BLOCK_FRAMES;
      const count = Math.min(BLOCK_FRAMES - offset, frames - at);
      let block = blocks.get(index);
      if (block === undefined) {
        block = new Int16Array(BLOCK_FRAMES * this.channels);
        blocks.set(index, block);
      }
      block.set(samples.subarray(at * this.channels, (at + count) * this.channels), offset * this.channels);
      at += count;
    }
    this.#ranges[stem]!.add(startFrame, startFrame + frames);
  }

  /** Returns the first frame from `frame` on that is missing in some stem. */
  endFrom(frame: number): number {
    return Math.min(...this.#ranges.map((ranges) => ranges.endFrom(frame)));
  }

  /** Returns the frames around `frame` that all stems have; empty if it is missing. */
  around(frame: number): Range {
    const ranges = this.#ranges.map((each) => each.at(frame) ?? { start: frame, end: frame });
    return {
      start: Math.max(...ranges.map((range) => range.start)),
      end: Math.min(...ranges.map((range) => range.end)),
    };
  }

  /** Copies frames of a stem into an AudioBuffer; they must be there. */
  read(stem: number, startFrame: number, target: AudioBuffer): void {
    const blocks = this.#blocks[stem]!;
    const { channels } = this;
    for (let channel = 0; channel < channels; channel++) {
      const values = target.getChannelData(channel);
      for (let at = 0; at < target.length; ) {
        const frame = startFrame + at;
        const index = Math.floor(frame / BLOCK_FRAMES);
        const offset = frame - index * BLOCK_FRAMES;
        const count = Math.min(BLOCK_FRAMES - offset, target.length - at);
        const block = blocks.get(index)!;
        for (let i = 0, from = offset * channels + channel; i < count; i++, from += channels) {
          values[at + i] = block[from]! / 32768;
        }
        at += count;
      }
    }
  }

  /** Drops the blocks that touch none of these ranges. */
  retain(kept: readonly Range[]): void {
    for (const [stem, blocks] of this.#blocks.entries()) {
      for (const index of blocks.keys()) {
        const start = index * BLOCK_FRAMES;
        const end = start + BLOCK_FRAMES;
        if (kept.some((range) => range.start < end && range.end > start)) continue;
        blocks.delete(index);
        this.#ranges[stem]!.remove(start, end);
      }
    }
  }
}
