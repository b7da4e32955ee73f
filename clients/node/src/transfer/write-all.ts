/** Writes chunks to a Writable with back-pressure. */

import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { ClosableIterator } from "../rpc/lifetime.js";

/** How to write. */
export interface WriteOptions {
  /** End the Writable after the last byte, and destroy it after a failure (true; standard output stays open). */
  end?: boolean;
  /** Stops the transfer; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Waits for `drain` whenever `target` is full, and for its end. Throws the errors of `chunks` and of `target`. */
export async function writeAll(
  chunks: (signal: AbortSignal) => AsyncGenerator<Buffer, void>,
  target: Writable,
  options: WriteOptions,
): Promise<void> {
  const source = new ClosableIterator(chunks, options.signal);
  // The server may send nothing for a long time, so a closed target must end the wait.
  const stop = (): void => void source.return();
  target.once("close", stop);
  try {
    await pipeline(source, target, { end: options.end ?? true });
  } finally {
    target.removeListener("close", stop);
  }
}
