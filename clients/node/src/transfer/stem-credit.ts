/** How much a server may send before the player has taken what came. */

import type { StreamCredit } from "../generated/mismo/analysis/v1/transfer_service.js";
import { wholeNumber } from "../rpc/whole-number.js";

const DEFAULT_BYTES = 1 << 20;
/** The server always holds at least this much credit unless audio is unread: room for one FLAC frame. */
const SPARE_BYTES = 32_768;
/** Frames of one FLAC frame; also more than the 4096 bytes of PCM that a server waits for. */
const SPARE_FRAMES = 4096;

/** Bounds of what is on its way or unread. */
export interface CreditOptions {
  /** Payload bytes over all stems (1 MiB; at least 64 KiB). For a moment after a seek up to twice as many. */
  creditBytes?: number;
  /**
   * Frames of each stem, from the first one that was not taken of any stem; at least 8192. Unset: no bound but that of
   * the bytes, in which FLAC can hold minutes of silence.
   */
  creditFrames?: number;
}

/** The credit of a stream: what was taken goes back to the server in not too small portions. */
export class StemCredit {
  readonly #windowBytes: number;
  /** 0: no bound. */
  readonly #windowFrames: number;
  /** Bytes that may be granted anew; negative while a seek's advance is being paid back. */
  #dueBytes = 0;
  /** Frames granted and taken since the generation, or the call, began. */
  #grantedFrames = 0;
  #takenFrames = 0;

  /** Throws RangeError. */
  constructor({ creditBytes = DEFAULT_BYTES, creditFrames }: CreditOptions) {
    if (wholeNumber("creditBytes", creditBytes) < 2 * SPARE_BYTES) {
      throw new RangeError(`creditBytes must be at least ${2 * SPARE_BYTES}`);
    }
    if (creditFrames !== undefined && wholeNumber("creditFrames", creditFrames) < 2 * SPARE_FRAMES) {
      throw new RangeError(`creditFrames must be at least ${2 * SPARE_FRAMES}`);
    }
    this.#windowBytes = creditBytes;
    this.#windowFrames = creditFrames ?? 0;
  }

  /** For a call that is opened. */
  open(): StreamCredit {
    this.#dueBytes = 0;
    this.restartFrames();
    return { bytes: this.#windowBytes, frames: this.#windowFrames };
  }

  /**
   * For a seek: enough that new audio need not wait for the credit of what is on its way and will be dropped. Seeks
   * that follow each other closely share one advance.
   */
  seek(): StreamCredit {
    const bytes = Math.max(0, this.#dueBytes + this.#windowBytes);
    this.#dueBytes -= bytes;
    return { bytes, frames: this.#windowFrames };
  }

  /** A refused seek has granted nothing. */
  seekRefused({ bytes }: StreamCredit): void {
    this.#dueBytes += bytes;
  }

  /** The frames are counted anew: a generation begins. */
  restartFrames(): void {
    this.#grantedFrames = this.#windowFrames;
    this.#takenFrames = 0;
  }

  /** Bytes were taken, or dropped. */
  takeBytes(bytes: number): void {
    this.#dueBytes += bytes;
  }

  /** All stems were taken up to that many frames after the earliest start of any stem. */
  takeFrames(frames: number): void {
    this.#takenFrames = Math.max(this.#takenFrames, frames);
  }

  /** What to grant now; undefined while it is too little. `all`: however little it is. */
  due(all = false): StreamCredit | undefined {
    const bytes = Math.max(0, this.#dueBytes);
    const frames =
      this.#windowFrames === 0 ? 0 : Math.max(0, this.#takenFrames + this.#windowFrames - this.#grantedFrames);
    const enough = (due: number, window: number, spare: number): boolean =>
      due > 0 && (all || due >= Math.min(window / 2, window - spare));
    if (!enough(bytes, this.#windowBytes, SPARE_BYTES) && !enough(frames, this.#windowFrames, SPARE_FRAMES)) {
      return undefined;
    }
    this.#dueBytes -= bytes;
    this.#grantedFrames += frames;
    return { bytes, frames };
  }
}
