/** Chunks into a Writable, no faster than it takes them. */

import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { ClosableIterator } from "../rpc/lifetime.js";

/** How a Writable is treated. */
export interface WriteOptions {
  /** End it after the last byte (true; standard output is never ended). With it a failure destroys it. */
  end?: boolean;
  /** Stops; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Waits for `drain` whenever `target` is full, and for its end. Throws what `chunks` or `target` raise. */
export async function writeAll(
  chunks: (signal: AbortSignal) => AsyncGenerator<Buffer, void>,
  target: Writable,
  options: WriteOptions,
): Promise<void> {
  const source = new ClosableIterator(chunks, options.signal);
  // The server may have nothing to send for a long time: a target that goes away ends the wait.
  const stop = (): void => void source.return();
  target.once("close", stop);
  try {
    await pipeline(source, target, { end: options.end ?? true });
  } finally {
    target.removeListener("close", stop);
  }
}
