/** The seeks of a stream that the server has not answered yet. */

import type { StreamCredit } from "../generated/mismo/analysis/v1/transfer_service.js";
import type { StartField } from "./start-position.js";

/** Where the audio goes on after a seek. */
export interface AppliedSeek {
  /** Carried by the chunks of this seek. */
  readonly generation: number;
  /** The frame that was asked for, or for FLAC the start of its FLAC frame. */
  readonly startFrame: number;
}

/** A seek, to be sent again on another call if this one breaks. */
export interface SentSeek {
  readonly generation: number;
  readonly start: StartField;
  /** What it granted when it was sent last. */
  credit?: StreamCredit;
}

interface PendingSeek extends SentSeek {
  readonly resolve: (applied: AppliedSeek) => void;
  readonly reject: (reason: unknown) => void;
}

/** In the order in which they were asked for. */
export class PendingSeeks {
  #pending: PendingSeek[] = [];
  #lastGeneration = 0;

  get isEmpty(): boolean {
    return this.#pending.length === 0;
  }

  get sent(): readonly SentSeek[] {
    return this.#pending;
  }

  /** A seek with the next generation, and the promise of its answer. */
  add(start: StartField): { seek: SentSeek; answered: Promise<AppliedSeek> } {
    this.#lastGeneration += 1;
    const generation = this.#lastGeneration;
    let settle!: Pick<PendingSeek, "resolve" | "reject">;
    const answered = new Promise<AppliedSeek>((resolve, reject) => (settle = { resolve, reject }));
    // Whoever seeks need not wait for the answer.
    answered.catch(() => undefined);
    const seek: PendingSeek = { generation, start, ...settle };
    this.#pending.push(seek);
    return { seek, answered };
  }

  /** Resolves this seek and those before it, which it replaced. */
  applied(applied: AppliedSeek): void {
    const isDone = ({ generation }: PendingSeek): boolean => generation <= applied.generation;
    for (const seek of this.#pending.filter(isDone)) seek.resolve(applied);
    this.#pending = this.#pending.filter((seek) => !isDone(seek));
  }

  /** Rejects this seek alone; undefined if it is not pending. */
  refused(generation: number, reason: unknown): SentSeek | undefined {
    const seek = this.#pending.find((pending) => pending.generation === generation);
    this.#pending = this.#pending.filter((pending) => pending !== seek);
    seek?.reject(reason);
    return seek;
  }

  /** The stream has ended. */
  rejectAll(reason: unknown): void {
    for (const seek of this.#pending) seek.reject(reason);
    this.#pending = [];
  }
}
