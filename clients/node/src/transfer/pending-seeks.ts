/** Seeks that the server has not answered yet. */

import type { StreamCredit } from "../generated/mismo/analysis/v1/transfer_service.js";
import type { StartField } from "./start-position.js";

/** Where the audio continues after a seek. */
export interface AppliedSeek {
  /** The generation of the chunks after this seek. */
  readonly generation: number;
  /** The requested frame; for FLAC the start of the FLAC frame that contains it. */
  readonly startFrame: number;
}

/** A seek, which is sent again on the next call if this one breaks. */
export interface SentSeek {
  readonly generation: number;
  readonly start: StartField;
  /** The credit that it granted when it was last sent. */
  credit?: StreamCredit;
}

interface PendingSeek extends SentSeek {
  readonly resolve: (applied: AppliedSeek) => void;
  readonly reject: (reason: unknown) => void;
}

/** Pending seeks in the order of their requests. */
export class PendingSeeks {
  #pending: PendingSeek[] = [];
  #lastGeneration = 0;

  get isEmpty(): boolean {
    return this.#pending.length === 0;
  }

  get sent(): readonly SentSeek[] {
    return this.#pending;
  }

  /** Adds a seek with the next generation. `answered` settles with the server's answer. */
  add(start: StartField): { seek: SentSeek; answered: Promise<AppliedSeek> } {
    this.#lastGeneration += 1;
    const generation = this.#lastGeneration;
    let settle!: Pick<PendingSeek, "resolve" | "reject">;
    const answered = new Promise<AppliedSeek>((resolve, reject) => (settle = { resolve, reject }));
    // A caller that ignores the answer must not cause an unhandled rejection.
    answered.catch(() => undefined);
    const seek: PendingSeek = { generation, start, ...settle };
    this.#pending.push(seek);
    return { seek, answered };
  }

  /** Resolves this seek and the earlier ones, which it replaced. */
  applied(applied: AppliedSeek): void {
    const isDone = ({ generation }: PendingSeek): boolean => generation <= applied.generation;
    for (const seek of this.#pending.filter(isDone)) seek.resolve(applied);
    this.#pending = this.#pending.filter((seek) => !isDone(seek));
  }

  /** Rejects this seek and returns it; undefined if it is not pending. */
  refused(generation: number, reason: unknown): SentSeek | undefined {
    const seek = this.#pending.find((pending) => pending.generation === generation);
    this.#pending = this.#pending.filter((pending) => pending !== seek);
    seek?.reject(reason);
    return seek;
  }

  /** Rejects all seeks when the stream has ended. */
  rejectAll(reason: unknown): void {
    for (const seek of this.#pending) seek.reject(reason);
    this.#pending = [];
  }
}
