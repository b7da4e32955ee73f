/** Server streams that are opened again when they break. */

import { type ClientReadableStream, status } from "@grpc/grpc-js";

import type { Connection, Stubs } from "./connection.js";
import { MismoError, toMismoError } from "./errors.js";
import { MessageReader, SilenceError } from "./message-reader.js";
import type { Attempts } from "./retry.js";

/** What `reconnectingStream` needs to know. */
export interface ReconnectingStream<Message> {
  connection: Connection;
  attempts: Attempts;
  signal: AbortSignal;
  /** Opens a call for what the consumer does not have yet; called for each attempt. */
  begin: (stubs: Stubs) => ClientReadableStream<Message>;
  /** Seconds without a message after which the call and its connection count as dead. Unset: no limit. */
  silenceTimeout?: number;
}

/**
 * The messages of one stream, over as many calls as it takes; ends when a call ends with OK. The consumer tells
 * `attempts` of its progress.
 *
 * Throws MismoError when no further attempt is made, or the signal's reason.
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
        connection.renew(stubs);
        broken = new MismoError(status.UNAVAILABLE, `no message came for ${silenceTimeout} s`);
      } else broken = toMismoError(error);
    } finally {
      signal.removeEventListener("abort", cancel);
      call.cancel();
    }
    await attempts.after(broken, signal, "stream");
  }
}
