/** Lets `createClient` of @connectrpc/connect make its calls over WebSockets. */

import type { DescMessage, DescMethodStreaming, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { Code, type StreamResponse, type Transport, type UnaryResponse } from "@connectrpc/connect";

import { Call, messagesOf } from "./call.js";
import { errorOf, MismoError, networkError } from "./errors.js";

/** Time for one unary call. */
const UNARY_SECONDS = 30;

/** Makes the transport of a server at `baseUrl`. Calls fail with MismoError. */
export function webSocketTransport(baseUrl: URL): Transport {
  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      _header: HeadersInit | undefined,
      input: MessageInitShape<I>,
    ): Promise<UnaryResponse<I, O>> {
      const call = new Call(baseUrl, method, signal);
      const seconds = timeoutMs === undefined ? UNARY_SECONDS : timeoutMs / 1000;
      try {
        call.send(input);
        const message = await call.next(seconds);
        if (message === undefined) throw networkError("the call ended without a response");
        return { stream: false, service: method.parent, method, ...noMetadata(), message };
      } finally {
        call.close();
      }
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      _timeoutMs: number | undefined,
      _header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
    ): Promise<StreamResponse<I, O>> {
      const call = new Call(baseUrl, method, signal);
      void sendAll(call, input);
      return { stream: true, service: method.parent, method, ...noMetadata(), message: messagesOf(call) };
    },
  };
}

async function sendAll<I extends DescMessage, O extends DescMessage>(
  call: Call<I, O>,
  input: AsyncIterable<MessageInitShape<I>>,
): Promise<void> {
  try {
    for await (const message of input) {
      if (call.ended) return;
      call.send(message);
    }
    call.halfClose();
  } catch (error) {
    call.fail(error instanceof MismoError ? error : new MismoError(Code.Aborted, errorOf(error).message, { cause: error }));
  }
}

function noMetadata(): { header: Headers; trailer: Headers } {
  return { header: new Headers(), trailer: new Headers() };
}
