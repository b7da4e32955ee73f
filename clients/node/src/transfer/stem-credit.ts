/** Flow control of a stem stream: how much the server may send before the player has consumed it. */

import type { StreamCredit } from "../generated/mismo/analysis/v1/transfer_service.js";
import { wholeNumber } from "../rpc/whole-number.js";

const DEFAULT_BYTES = 1 << 20;
/** The server has at least this much credit left while no audio is unread: enough for one FLAC frame. */
const MIN_CREDIT_BYTES = 32_768;
/** Frames of one FLAC frame; as PCM more than the 4096 bytes that a server waits for. */
const MIN_CREDIT_FRAMES = 4096;

/** Limits of the audio that is in flight or unread. */
export interface CreditOptions {
  /** Payload bytes over all stems (1 MiB; at least 64 KiB). For a moment after a seek up to twice as many. */
  creditBytes?: number;
  /**
   * Frames of each stem, counted from the first frame that is not consumed in all stems; at least 8192. Unset: only
   * the bytes are limited, and minutes of silence in FLAC fit into them.
   */
  creditFrames?: number;
}

/** Counts the credit of a stream and returns consumed credit to the server, but not in tiny amounts. */
export class StemCredit {
  readonly #windowBytes: number;
  /** 0: no limit. */
  readonly #windowFrames: number;
  /** Bytes that can be granted; negative until the extra credit of a seek is consumed. */
  #dueBytes = 0;
  /** Frames granted and consumed since the generation or the call began. */
  #grantedFrames = 0;
  #consumedFrames = 0;

  /** Throws RangeError. */
  constructor({ creditBytes = DEFAULT_BYTES, creditFrames }: CreditOptions) {
    if (wholeNumber("creditBytes", creditBytes) < 2 * MIN_CREDIT_BYTES) {
      throw new RangeError(`creditBytes must be at least ${2 * MIN_CREDIT_BYTES}`);
    }
    if (creditFrames !== undefined && wholeNumber("creditFrames", creditFrames) < 2 * MIN_CREDIT_FRAMES) {
      throw new RangeError(`creditFrames must be at least ${2 * MIN_CREDIT_FRAMES}`);
    }
    this.#windowBytes = creditBytes;
    this.#windowFrames = creditFrames ?? 0;
  }

  /** Returns the credit of a new call. */
  open(): StreamCredit {
    this.#dueBytes = 0;
    this.restartFrames();
    return { bytes: this.#windowBytes, frames: this.#windowFrames };
  }

  /**
   * Returns the extra credit of a seek. With it the new audio need not wait until the audio in flight, which will be
   * dropped, returns its credit. Seeks in quick succession share one extra credit.
   */
  seek(): StreamCredit {
    const bytes = Math.max(0, this.#dueBytes + this.#windowBytes);
    this.#dueBytes -= bytes;
    return { bytes, frames: this.#windowFrames };
  }

  /** Takes back the credit of a refused seek, which the server does not count. */
  seekRefused({ bytes }: StreamCredit): void {
    this.#dueBytes += bytes;
  }

  /** Counts frames from zero, because a generation begins. */
  restartFrames(): void {
    this.#grantedFrames = this.#windowFrames;
    this.#consumedFrames = 0;
  }

  /** Counts bytes that were consumed or dropped. */
  consumeBytes(bytes: number): void {
    this.#dueBytes += bytes;
  }

  /** Counts frames that are consumed in all stems, from the earliest start of any stem on. */
  consumeFrames(frames: number): void {
    this.#consumedFrames = Math.max(this.#consumedFrames, frames);
  }

  /** Returns the credit to grant now; undefined while the amount is too small. `all`: grant any amount. */
  due(all = false): StreamCredit | undefined {
    const bytes = Math.max(0, this.#dueBytes);
    const frames =
      this.#windowFrames === 0 ? 0 : Math.max(0, this.#consumedFrames + this.#windowFrames - this.#grantedFrames);
    const enough = (due: number, window: number, least: number): boolean =>
      due > 0 && (all || due >= Math.min(window / 2, window - least));
    if (!enough(bytes, this.#windowBytes, MIN_CREDIT_BYTES) && !enough(frames, this.#windowFrames, MIN_CREDIT_FRAMES)) {
      return undefined;
    }
    this.#dueBytes -= bytes;
    this.#grantedFrames += frames;
    return { bytes, frames };
  }
}
