/** Received audio of one generation, which begins with the open of a stream or with a seek. */

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

/** Received audio of one stem on the present call. */
interface StemHash {
  readonly startFrame: number;
  readonly hash: Hash;
}

/** Positions of the stems, and checksums of their audio on the present call. */
export class StemGeneration {
  /** The server has sent everything. */
  ended = false;
  /** First frame that has not arrived, by stem. */
  readonly #next = new Map<number, number>();
  /** First frame that the player has not consumed, by stem. */
  readonly #consumed = new Map<number, number>();
  readonly #hashes = new Map<number, StemHash>();
  /** Earliest first frame of any stem on the present call. */
  #earliestStart = Infinity;

  constructor(
    readonly number: number,
    readonly start: StartField,
  ) {}

  /** Returns the requested frame. */
  startFrame(format: StemFormat): number {
    return frameOf(this.start, format.sampleRate);
  }

  /** Returns the first frame of a stem that has not arrived. */
  nextFrame(index: number, format: StemFormat): number {
    return this.#next.get(index) ?? this.startFrame(format);
  }

  /** Prepares another call and returns where each stem continues. A checksum covers one call. */
  reopen(format: StemFormat | undefined): ResumePoint[] {
    this.#hashes.clear();
    this.#earliestStart = Infinity;
    this.ended = false;
    return [...this.#next].map(([index, startFrame]) => ({ stemName: format!.stemNames[index]!, startFrame }));
  }

  /** Counts a received chunk. Throws StreamCorruptError if its checksum or position is wrong. */
  accept(chunk: ChunkMessage, stemName: string): void {
    const { stemIndex, startFrame, frameCount, data } = chunk;
    if (crc32c(data) !== chunk.crc32c) {
      throw new StreamCorruptError(`a chunk of ${stemName} at frame ${startFrame} has a wrong checksum`);
    }
    const expected = this.#next.get(stemIndex);
    if (expected !== undefined && startFrame !== expected) {
      throw new StreamCorruptError(`${stemName} continued at frame ${startFrame} instead of ${expected}`);
    }
    let received = this.#hashes.get(stemIndex);
    if (received === undefined) {
      received = { startFrame, hash: createHash("sha256") };
      this.#hashes.set(stemIndex, received);
      this.#earliestStart = Math.min(this.#earliestStart, startFrame);
    }
    received.hash.update(data);
    this.#next.set(stemIndex, startFrame + frameCount);
  }

  /** Undoes `accept` of a chunk that the next call must send again. Newest first. */
  undoAccept({ stemIndex, startFrame }: { stemIndex: number; startFrame: number }): void {
    this.#next.set(stemIndex, startFrame);
  }

  /** Counts a consumed chunk. Returns the frames that are consumed in all stems, from the earliest start on. */
  consume(index: number, endFrame: number, format: StemFormat): number {
    this.#consumed.set(index, endFrame);
    // FLAC audio may begin before the requested frame.
    const start = Math.min(this.startFrame(format), this.#earliestStart);
    const consumed = Math.min(...format.stemNames.map((_, stem) => this.#consumed.get(stem) ?? start));
    return consumed - Math.min(this.#earliestStart, consumed);
  }

  /** Throws ChecksumError if the received audio of the stem differs from the sent audio. */
  checkEnd(end: EndOfStem, stemName: string, format: StemFormat): void {
    const received = this.#hashes.get(end.stemIndex);
    const actual = (received?.hash.copy() ?? createHash("sha256")).digest("hex");
    const startFrame = received?.startFrame ?? this.nextFrame(end.stemIndex, format);
    if (actual !== end.sha256 || startFrame !== end.startFrame) {
      throw new ChecksumError(
        `${stemName} from frame ${startFrame} does not match the SHA-256 of what was sent from frame ${end.startFrame}`,
        end.sha256,
        actual,
      );
    }
  }

  /** Throws StreamCorruptError if a stem is incomplete. */
  checkComplete(format: StemFormat): void {
    for (const [index, name] of format.stemNames.entries()) {
      const reached = this.nextFrame(index, format);
      if (reached < format.totalFrames) {
        throw new StreamCorruptError(`${name} ended at frame ${reached} of ${format.totalFrames}`);
      }
    }
  }
}
