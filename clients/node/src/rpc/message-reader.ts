/** Reads the messages of one call, one at a time. */

import type { Readable } from "node:stream";

/** What both kinds of streaming calls have in common. */
export interface ReadableCall extends Readable {
  cancel(): void;
}

/** No message came within the time allowed. */
export class SilenceError extends Error {}

/**
 * Reads a call message by message. What arrived before an error is handed out before the error is thrown;
 * grpc-js's own iterator would lose it. grpc-js reads at most 16 messages ahead.
 */
export class MessageReader<T> {
  #error: Error | undefined;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(private readonly call: ReadableCall) {
    const wake = (): void => this.#wake?.();
    call.on("readable", wake);
    call.on("end", () => {
      this.#ended = true;
      wake();
    });
    call.on("error", (error: Error) => {
      this.#error ??= error;
      wake();
    });
  }

  /** The call has ended; there may be messages left to read. */
  get over(): boolean {
    return this.#ended || this.#error !== undefined;
  }

  /**
   * The next message; undefined once the call ended with OK. One reader at a time.
   *
   * Throws the call's error, or SilenceError if nothing comes for `timeout` seconds.
   */
  async next(timeout?: number): Promise<T | undefined> {
    for (;;) {
      const message = this.call.read() as T | null;
      if (message !== null) return message;
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      if (!(await this.#changed(timeout))) throw new SilenceError();
    }
  }

  /** Discards what still comes, so that the call can end. */
  drain(): void {
    this.call.removeAllListeners("readable");
    this.call.resume();
  }

  #changed(timeout: number | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = timeout === undefined ? undefined : setTimeout(() => settle(false), timeout * 1000);
      const settle = (changed: boolean): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve(changed);
      };
      this.#wake = () => settle(true);
    });
  }
}

const CLOSING_MS = 1000;

/**
 * Closes our side of a call on which all was said, and gives the server a moment to end it. Cancelled at once, it
 * would look to the server like a client that vanished.
 */
export function closeGracefully(call: ReadableCall & { end(): unknown }, messages: MessageReader<unknown>): void {
  const timer = setTimeout(() => call.cancel(), CLOSING_MS);
  // Nobody waits for it: a program may end before.
  timer.unref();
  call.once("status", () => clearTimeout(timer));
  messages.drain();
  call.end();
}
