/** The credit of a stem stream: bytes in flight, and frames up to a limit in the track. */

import type { StreamCredit } from "../generated/mismo/analysis/v1/transfer_service_pb.js";

type Credit = Pick<StreamCredit, "bytes" | "frames">;

/** Most payload bytes in flight. What arrived is granted again at once: the frames bound what is buffered. */
const WINDOW_BYTES = 1 << 20;
/** Fewer bytes are not granted. */
const PORTION_BYTES = WINDOW_BYTES / 4;

/** Counts what was granted and what arrived. */
export class StemCredit {
  /** Bytes that arrived and were not granted again; negative after a seek, which grants in advance. */
  #dueBytes = 0;
  /** The frame before which the server may send. */
  #grantedUntil = 0;

  /** The credit of a new call whose earliest stem starts at `startFrame`. */
  open(startFrame: number, untilFrame: number): Credit {
    this.#dueBytes = 0;
    return { bytes: BigInt(WINDOW_BYTES), frames: this.#frames(startFrame, untilFrame) };
  }

  /** The credit of a seek: its audio need not wait until the stale audio has arrived. */
  seek(startFrame: number, untilFrame: number): Credit {
    const bytes = Math.max(0, WINDOW_BYTES + this.#dueBytes);
    this.#dueBytes -= bytes;
    return { bytes: BigInt(bytes), frames: this.#frames(startFrame, untilFrame) };
  }

  /** Counts received bytes, stale ones too. */
  received(bytes: number): void {
    this.#dueBytes += bytes;
  }

  /** Returns what to grant now, so that the server may send up to `untilFrame`; undefined if it is nothing. */
  due(untilFrame: number): Credit | undefined {
    const bytes = this.#dueBytes >= PORTION_BYTES ? this.#dueBytes : 0;
    const frames = Math.max(0, untilFrame - this.#grantedUntil);
    if (bytes === 0 && frames === 0) return undefined;
    this.#dueBytes -= bytes;
    this.#grantedUntil += frames;
    return { bytes: BigInt(bytes), frames: BigInt(frames) };
  }

  #frames(startFrame: number, untilFrame: number): bigint {
    // 0 would mean no limit.
    const frames = Math.max(1, untilFrame - startFrame);
    this.#grantedUntil = startFrame + frames;
    return BigInt(frames);
  }
}
