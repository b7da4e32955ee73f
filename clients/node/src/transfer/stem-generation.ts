/** What came of one generation: of the open of a stream, or of one of its seeks. */

import { createHash, type Hash } from "node:crypto";

import type {
  EndOfStem,
  ResumePoint,
  StemChunk as ChunkMessage,
} from "../generated/mismo/analysis/v1/transfer_service.js";
import { ChecksumError, StreamCorruptError } from "../rpc/errors.js";
import { crc32c } from "./crc32c.js";
import { frameOf, type StartField } from "./start-position.js";
import type { StemFormat } from "./stem-format.js";

/** What came of a stem on the open call. */
interface StemSum {
  readonly startFrame: number;
  readonly hash: Hash;
}

/** The positions of the stems, and the checksums of what came on the open call. */
export class StemGeneration {
  /** The server has sent everything. */
  ended = false;
  /** First frame that has not come, by stem. */
  readonly #next = new Map<number, number>();
  /** First frame that the player has not taken, by stem. */
  readonly #taken = new Map<number, number>();
  readonly #sums = new Map<number, StemSum>();
  /** Where the earliest stem began on the open call. */
  #base = Infinity;

  constructor(
    readonly number: number,
    readonly start: StartField,
  ) {}

  /** The frame that was asked for. */
  startFrame(format: StemFormat): number {
    return frameOf(this.start, format.sampleRate);
  }

  /** The first frame of a stem that has not come. */
  nextFrame(index: number, format: StemFormat): number {
    return this.#next.get(index) ?? this.startFrame(format);
  }

  /** Begins another call: where each stem goes on. The checksums cover one call each. */
  reopen(format: StemFormat | undefined): ResumePoint[] {
    this.#sums.clear();
    this.#base = Infinity;
    this.ended = false;
    return [...this.#next].map(([index, startFrame]) => ({ stemName: format!.stemNames[index]!, startFrame }));
  }

  /** Counts a chunk in. Throws StreamCorruptError if it does not fit its checksum or its position. */
  accept(chunk: ChunkMessage, stemName: string): void {
    const { stemIndex, startFrame, frameCount, data } = chunk;
    if (crc32c(data) !== chunk.crc32c) {
      throw new StreamCorruptError(`a chunk of ${stemName} at frame ${startFrame} does not fit its checksum`);
    }
    const expected = this.#next.get(stemIndex);
    if (expected !== undefined && startFrame !== expected) {
      throw new StreamCorruptError(`${stemName} went on at frame ${startFrame} instead of ${expected}`);
    }
    let sum = this.#sums.get(stemIndex);
    if (sum === undefined) {
      sum = { startFrame, hash: createHash("sha256") };
      this.#sums.set(stemIndex, sum);
      this.#base = Math.min(this.#base, startFrame);
    }
    sum.hash.update(data);
    this.#next.set(stemIndex, startFrame + frameCount);
  }

  /** Undoes `accept` for what was not handed out: it comes again on the next call. Newest first. */
  unaccept({ stemIndex, startFrame }: { stemIndex: number; startFrame: number }): void {
    this.#next.set(stemIndex, startFrame);
  }

  /** The player has taken a chunk; frames of all stems that it has taken, from the earliest start on. */
  take(index: number, endFrame: number, format: StemFormat): number {
    this.#taken.set(index, endFrame);
    // With FLAC the audio may begin before the frame that was asked for.
    const start = Math.min(this.startFrame(format), this.#base);
    const furthestBehind = Math.min(...format.stemNames.map((_, stem) => this.#taken.get(stem) ?? start));
    return furthestBehind - Math.min(this.#base, furthestBehind);
  }

  /** Throws ChecksumError if what came of the stem is not what was sent. */
  checkEnd(end: EndOfStem, stemName: string, format: StemFormat): void {
    const sum = this.#sums.get(end.stemIndex);
    const actual = (sum?.hash.copy() ?? createHash("sha256")).digest("hex");
    const startFrame = sum?.startFrame ?? this.nextFrame(end.stemIndex, format);
    if (actual !== end.sha256 || startFrame !== end.startFrame) {
      throw new ChecksumError(
        `${stemName} from frame ${startFrame} does not fit the SHA-256 of what was sent from frame ${end.startFrame}`,
        end.sha256,
        actual,
      );
    }
  }

  /** Throws StreamCorruptError if a stem did not come to its end. */
  checkComplete(format: StemFormat): void {
    for (const [index, name] of format.stemNames.entries()) {
      const reached = this.nextFrame(index, format);
      if (reached < format.totalFrames) {
        throw new StreamCorruptError(`${name} ended at frame ${reached} of ${format.totalFrames}`);
      }
    }
  }
}
