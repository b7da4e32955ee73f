/** How a client behaves. Times in seconds, sizes in bytes. */

import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";

import { Attempts, CALL_RETRY, type OnRetry, type RetryPolicy, STREAM_RETRY } from "./retry.js";

const MIB = 1 << 20;

/** Settings of a client; every one has a default. */
export interface ConnectOptions {
  /** For a unary call, each time it is tried (30 s). */
  callTimeout?: number;
  /** A ping after this long without traffic while a call is open (30 s; servers take 10 s and more). */
  keepaliveTime?: number;
  /** A connection that leaves a ping unanswered this long is given up (15 s). */
  keepaliveTimeout?: number;
  /** What may be on its way on the connection before grpc-js reads it (4 MiB). */
  flowControlWindow?: number;
  /** A message at most (16 MiB): one chunk, or a page of jobs. */
  maxMessageBytes?: number;
  /** For calls, and for streams that never brought anything (6 attempts). */
  callRetry?: Partial<RetryPolicy>;
  /** For streams that break later (12 attempts, enough for a server that restarts). */
  streamRetry?: Partial<RetryPolicy>;
  /** Told of every wait before another try. */
  onRetry?: OnRetry;
  /** Without it the connection is not encrypted. */
  credentials?: ChannelCredentials;
}

/** The same, complete. */
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
      // gRPC's own default waits up to two minutes before it looks for a restarted server again.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2000,
      // Else a connection in place of a dead one would be the dead one again.
      "grpc.use_local_subchannel_pool": 1,
    };
  }

  /** For one call. */
  callAttempts(): Attempts {
    return new Attempts(this.#callRetry, undefined, this.#onRetry);
  }

  /** For one stream. */
  streamAttempts(): Attempts {
    return new Attempts(this.#callRetry, this.#streamRetry, this.#onRetry);
  }
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}
