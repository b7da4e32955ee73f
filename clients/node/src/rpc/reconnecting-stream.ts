/** Reopens a server stream when it breaks. */

import { type ClientReadableStream, status } from "@grpc/grpc-js";

import type { Connection, Stubs } from "./connection.js";
import { MismoError, toMismoError } from "./errors.js";
import { MessageReader, SilenceError } from "./message-reader.js";
import type { Attempts } from "./retry.js";

/** Arguments of `reconnectingStream`. */
export interface ReconnectingStream<Message> {
  connection: Connection;
  attempts: Attempts;
  signal: AbortSignal;
  /** Opens a call that continues after the last received message; called for each attempt. */
  begin: (stubs: Stubs) => ClientReadableStream<Message>;
  /** Seconds without a message after which the connection counts as dead. Unset: no limit. */
  silenceTimeout?: number;
}

/**
 * Yields the messages of one stream over as many calls as needed; ends when a call ends with OK. The consumer calls
 * `attempts.progressed` for each message that is new to it.
 *
 * Throws MismoError when no attempt is left, or the signal's reason.
 */
export async function* reconnectingStream<Message>(
  stream: ReconnectingStream<Message>,
): AsyncGenerator<Message, void> {
  const { connection, attempts, signal, silenceTimeout } = stream;
  for (;;) {
    signal.throwIfAborted();
    let broken: MismoError;
    const stubs = connection.stubs();
    const call = connection.open(stream.begin);
    const cancel = (): void => call.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    try {
      const messages = new MessageReader<Message>(call);
      for (let message; (message = await messages.next(silenceTimeout)) !== undefined; ) {
        attempts.connected();
        yield message;
      }
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SilenceError) {
        connection.replace(stubs);
        broken = new MismoError(status.UNAVAILABLE, `no message arrived for ${silenceTimeout} s`);
      } else broken = toMismoError(error);
    } finally {
      signal.removeEventListener("abort", cancel);
      call.cancel();
    }
    await attempts.waitAfter(broken, signal, "stream");
  }
}
