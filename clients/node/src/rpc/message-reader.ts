/** Reads the messages of one call, one at a time. */

import type { Readable } from "node:stream";

/** The common part of server streams and bidirectional streams. */
export interface ReadableCall extends Readable {
  cancel(): void;
}

/** No message arrived within the timeout. */
export class SilenceError extends Error {}

/**
 * Reads a call message by message. Returns all messages that arrived before an error before it throws the error;
 * the iterator of grpc-js would lose them. grpc-js reads at most 16 messages ahead.
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

  /** The call has ended. Unread messages may remain. */
  get isOver(): boolean {
    return this.#ended || this.#error !== undefined;
  }

  /**
   * Returns the next message; undefined once the call has ended with OK. One reader at a time.
   *
   * Throws the call's error, or SilenceError if no message arrives for `timeout` seconds.
   */
  async next(timeout?: number): Promise<T | undefined> {
    for (;;) {
      const message = this.call.read() as T | null;
      if (message !== null) return message;
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      if (!(await this.#waitForChange(timeout))) throw new SilenceError();
    }
  }

  /** Discards the remaining messages, so that the call can end. */
  drain(): void {
    this.call.removeAllListeners("readable");
    this.call.resume();
  }

  #waitForChange(timeout: number | undefined): Promise<boolean> {
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
 * Closes the client's side of a finished call and gives the server one second to end it. To the server, a call that is
 * cancelled at once looks like a lost client.
 */
export function closeGracefully(call: ReadableCall & { end(): unknown }, messages: MessageReader<unknown>): void {
  const timer = setTimeout(() => call.cancel(), CLOSING_MS);
  // The timer must not keep a finished program alive.
  timer.unref();
  call.once("status", () => clearTimeout(timer));
  messages.drain();
  call.end();
}
