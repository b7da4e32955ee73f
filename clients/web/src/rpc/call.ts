/** One call over one WebSocket: protobuf messages in binary frames. See docs/decisions/025 of the server. */

import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import { abortedError, errorOf, errorOfFrame, MismoError, networkError } from "./errors.js";
import { refusalOf } from "./refusal.js";

const CLOSED = 1000;
const POLICY_VIOLATION = 1008;
const TOO_BIG = 1009;
const FAILED = 4000;

/** A method with its request and response types. */
export type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { input: I; output: O };

/**
 * An open call. Messages can be sent at once; they wait until the socket is open. Browsers let a page not read slower
 * than the server sends: what arrives waits in memory, so limit it by credit where there can be much.
 */
export class Call<I extends DescMessage, O extends DescMessage> {
  readonly #method: Method<I, O>;
  readonly #socket: WebSocket;
  readonly #received: MessageShape<O>[] = [];
  readonly #waiting: Uint8Array<ArrayBuffer>[] = [];
  #halfClosed = false;
  #opened = false;
  #failure: MismoError | undefined;
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #onAbort = (): void => this.#end(abortedError(this.signal?.reason));

  /** `url` is the server's address. An aborted `signal` cancels the call. */
  constructor(
    url: URL,
    method: Method<I, O>,
    private readonly signal?: AbortSignal,
  ) {
    this.#method = method;
    const target = new URL(`ws/${method.parent.typeName}/${method.name}`, url);
    target.protocol = target.protocol === "https:" || target.protocol === "wss:" ? "wss:" : "ws:";
    this.#socket = new WebSocket(target);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("open", () => this.#flush());
    this.#socket.addEventListener("message", ({ data }) => this.#receive(data as ArrayBuffer | string));
    this.#socket.addEventListener("close", ({ code }) => this.#closed(code, target));
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort);
  }

  /** The call has ended; received messages may remain. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Sends a message, unless the call has ended: then `next` says why. */
  send(message: MessageInitShape<I>): void {
    const complete = create(this.#method.input, message);
    this.#transmit(toBinary(this.#method.input, complete) as Uint8Array<ArrayBuffer>);
  }

  /** Tells the server that no message follows. */
  halfClose(): void {
    this.#halfClosed = true;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send("");
  }

  /**
   * Returns the next message; undefined once the call has ended well. One reader at a time.
   *
   * Throws MismoError: the call's error, or NETWORK if `silenceSeconds` pass without a message.
   */
  async next(silenceSeconds?: number): Promise<MessageShape<O> | undefined> {
    for (;;) {
      const message = this.#received.shift();
      if (message !== undefined) return message;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await this.#change(silenceSeconds);
    }
  }

  /** Ends the call with an error of the client. */
  fail(error: MismoError): void {
    this.#end(error);
  }

  /** Ends the call; the server cancels what it does for it. */
  close(): void {
    this.#end(undefined);
  }

  #transmit(data: Uint8Array<ArrayBuffer>): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data);
    else if (!this.#ended) this.#waiting.push(data);
  }

  #flush(): void {
    this.#opened = true;
    for (const data of this.#waiting.splice(0)) this.#socket.send(data);
    if (this.#halfClosed) this.#socket.send("");
  }

  #receive(data: ArrayBuffer | string): void {
    if (this.#ended) return;
    if (typeof data === "string") {
      this.#end(errorOfFrame(data));
      return;
    }
    try {
      this.#received.push(fromBinary(this.#method.output, new Uint8Array(data)));
      this.#wake?.();
    } catch (cause) {
      this.#end(new MismoError(Code.Internal, "the server sent a message that is not understood", { cause }));
    }
  }

  #closed(code: number, target: URL): void {
    if (this.#ended) return;
    if (!this.#opened) void refusalOf(target).then((error) => this.#end(error));
    else if (code === CLOSED) this.#end(undefined);
    else if (code === TOO_BIG) this.#end(new MismoError(Code.ResourceExhausted, "the message is too large"));
    else if (code === POLICY_VIOLATION) this.#end(new MismoError(Code.InvalidArgument, "the server refused the messages"));
    else if (code > FAILED && code in codes) this.#end(new MismoError(code - FAILED, "the call failed"));
    else this.#end(networkError("the connection to the server was lost"));
  }

  #end(failure: MismoError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#waiting.length = 0;
    this.signal?.removeEventListener("abort", this.#onAbort);
    this.#socket.close();
    this.#wake?.();
  }

  #change(silenceSeconds: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer =
        silenceSeconds === undefined
          ? undefined
          : setTimeout(() => this.#end(networkError("the server has been silent for too long")), silenceSeconds * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

/** The numbers of the close codes with a gRPC code. */
const codes: Readonly<Record<number, true>> = Object.fromEntries(
  Object.values(Code)
    .filter((value) => typeof value === "number")
    .map((value) => [FAILED + value, true]),
);

/** Reads all messages of a call; closes it when the consumer leaves. */
export async function* messagesOf<I extends DescMessage, O extends DescMessage>(
  call: Call<I, O>,
  silenceSeconds?: number,
): AsyncGenerator<MessageShape<O>, void> {
  try {
    for (let message; (message = await call.next(silenceSeconds)) !== undefined; ) yield message;
  } catch (error) {
    throw errorOf(error);
  } finally {
    call.close();
  }
}
