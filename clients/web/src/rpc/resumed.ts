/** Reads a server stream over as many calls as it needs. */

import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

import { Backoff } from "./backoff.js";
import { Call, messagesOf, type Method } from "./call.js";
import { errorOf, type MismoError, networkError } from "./errors.js";

/** Arguments of `resumed`. */
export interface Resumed<I extends DescMessage, O extends DescMessage> {
  url: URL;
  method: Method<I, O>;
  /** Returns the request that continues after the last received message. */
  request: () => MessageInitShape<I>;
  signal: AbortSignal;
  /** Seconds without a message after which the connection counts as lost. */
  silenceSeconds?: number;
  /** The stream never ends well: a call that does is made again. */
  endless?: boolean;
  /** The first message of a call has arrived. */
  onOpen?: () => void;
  /** The call broke and is made again. */
  onLost?: (error: MismoError) => void;
}

/** Yields messages until a call ends well. Throws MismoError for what does not pass by waiting. */
export async function* resumed<I extends DescMessage, O extends DescMessage>(
  options: Resumed<I, O>,
): AsyncGenerator<MessageShape<O>, void> {
  const backoff = new Backoff();
  for (;;) {
    try {
      const call = new Call(options.url, options.method, options.signal);
      call.send(options.request());
      let isFirst = true;
      for await (const message of messagesOf(call, options.silenceSeconds)) {
        if (isFirst) options.onOpen?.();
        isFirst = false;
        backoff.succeeded();
        yield message;
      }
      if (!options.endless) return;
      throw networkError("the stream stopped");
    } catch (cause) {
      const error = errorOf(cause);
      if (!error.retryable || options.signal.aborted) throw error;
      options.onLost?.(error);
      await backoff.wait(error, options.signal);
    }
  }
}
