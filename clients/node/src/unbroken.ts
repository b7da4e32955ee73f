/** Server streams that are opened again when they break. */

import { type ClientReadableStream, status } from "@grpc/grpc-js";

import type { Connection, Stubs } from "./connection.js";
import { asMismoError, MismoError } from "./errors.js";
import { Messages, SilenceError } from "./messages.js";
import type { Attempts } from "./retry.js";

/** What `unbroken` needs to know. */
export interface UnbrokenStream<Message> {
  connection: Connection;
  attempts: Attempts;
  signal: AbortSignal;
  /** Asks for what the consumer does not have yet, each time anew, and tells `attempts` of its progress. */
  begin: (stubs: Stubs) => ClientReadableStream<Message>;
  /** Seconds; a call that brings nothing for longer is dead, and so is its connection. Unset: for ever. */
  patience?: number;
}

/**
 * The messages of one stream, over as many calls as it takes; ends when a call ends with OK.
 *
 * Throws MismoError when it ended for good, or the signal's reason.
 */
export async function* unbroken<Message>(stream: UnbrokenStream<Message>): AsyncGenerator<Message, void> {
  const { connection, attempts, signal } = stream;
  for (;;) {
    signal.throwIfAborted();
    let broken: MismoError;
    const stubs = connection.stubs();
    const call = connection.open(stream.begin);
    const cancel = (): void => call.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    try {
      const messages = new Messages<Message>(call);
      for (let message; (message = await messages.next(stream.patience)) !== undefined; ) {
        attempts.connected();
        yield message;
      }
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SilenceError) {
        connection.renew(stubs);
        broken = new MismoError(status.UNAVAILABLE, `nothing came for ${stream.patience} s`);
      } else broken = asMismoError(error);
    } finally {
      signal.removeEventListener("abort", cancel);
      call.cancel();
    }
    await attempts.after(broken, signal, "stream");
  }
}
