/** Settings of a client. Times in seconds, sizes in bytes. */

import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";

import { Attempts, CALL_RETRY, type OnRetry, type RetryPolicy, STREAM_RETRY } from "./retry.js";

const MIB = 1 << 20;

/** Options of `connect`; all have defaults. */
export interface ConnectOptions {
  /** For each attempt of a unary call (30 s). */
  callTimeout?: number;
  /** Time without traffic on an open call after which the client sends a ping (30 s; servers allow 10 s and more). */
  keepaliveTime?: number;
  /** The client drops a connection that does not answer a ping for this long (15 s). */
  keepaliveTimeout?: number;
  /** HTTP/2 flow-control window: the most bytes in flight before grpc-js reads them (4 MiB). */
  flowControlWindow?: number;
  /** Largest message (16 MiB): a chunk or a page of jobs. */
  maxMessageBytes?: number;
  /** For calls, and for streams before their first message (6 attempts). */
  callRetry?: Partial<RetryPolicy>;
  /** For streams after their first message (12 attempts, enough for a server restart). */
  streamRetry?: Partial<RetryPolicy>;
  /** Called before the wait for each further attempt. */
  onRetry?: OnRetry;
  /** Credentials of grpc-js; without them the connection is not encrypted. */
  credentials?: ChannelCredentials;
}

/** ConnectOptions with all defaults applied. */
export class Settings {
  readonly callTimeout: number;
  readonly credentials: ChannelCredentials;
  readonly channel: ChannelOptions;
  readonly #callRetry: RetryPolicy;
  readonly #streamRetry: RetryPolicy;
  readonly #onRetry: OnRetry | undefined;

  constructor(options: ConnectOptions) {
    this.callTimeout = options.callTimeout ?? 30;
    this.credentials = options.credentials ?? credentials.createInsecure();
    this.#callRetry = { ...CALL_RETRY, ...options.callRetry };
    this.#streamRetry = { ...STREAM_RETRY, ...options.streamRetry };
    this.#onRetry = options.onRetry;
    const maxMessageBytes = options.maxMessageBytes ?? 16 * MIB;
    this.channel = {
      "grpc.keepalive_time_ms": milliseconds(options.keepaliveTime ?? 30),
      "grpc.keepalive_timeout_ms": milliseconds(options.keepaliveTimeout ?? 15),
      "grpc.keepalive_permit_without_calls": 0,
      "grpc.max_receive_message_length": maxMessageBytes,
      "grpc.max_send_message_length": maxMessageBytes,
      "grpc-node.flow_control_window": options.flowControlWindow ?? 4 * MIB,
      // The default of gRPC waits up to two minutes before it connects to a restarted server.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2000,
      // Otherwise a new channel would reuse the dead connection of the old one.
      "grpc.use_local_subchannel_pool": 1,
    };
  }

  /** Retries of one call. */
  callAttempts(): Attempts {
    return new Attempts(this.#callRetry, undefined, this.#onRetry);
  }

  /** Retries of one stream. */
  streamAttempts(): Attempts {
    return new Attempts(this.#callRetry, this.#streamRetry, this.#onRetry);
  }
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}
