/** The connection to a server and its open calls. A dead connection is replaced. */

import { type CallOptions, Channel, type ClientUnaryCall, Metadata, type ServiceError, status } from "@grpc/grpc-js";

import { JobServiceClient } from "../generated/mismo/analysis/v1/job_service.js";
import { SystemServiceClient } from "../generated/mismo/analysis/v1/system_service.js";
import { TransferServiceClient } from "../generated/mismo/analysis/v1/transfer_service.js";
import { MismoError, toMismoError } from "./errors.js";
import type { Settings } from "./options.js";

/** Stubs of the services on one channel. */
export interface Stubs {
  readonly jobs: JobServiceClient;
  readonly transfers: TransferServiceClient;
  readonly system: SystemServiceClient;
}

/** A call that can be cancelled and emits its end. */
export interface OpenCall {
  cancel(): void;
  once(event: "status", listener: () => void): unknown;
}

/** A unary method of a grpc-js stub. */
export type UnaryMethod<Response> = (
  stubs: Stubs,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** Connects at the first call. */
export class Connection {
  #channel: Channel | undefined;
  #stubs: Stubs | undefined;
  #open = new Set<OpenCall>();
  #closed = false;

  constructor(
    readonly address: string,
    readonly settings: Settings,
  ) {}

  /** Returns the stubs of the present channel. Throws MismoError (CANCELLED) once closed. */
  stubs(): Stubs {
    if (this.#closed) throw new MismoError(status.CANCELLED, "the client is closed");
    if (this.#stubs !== undefined) return this.#stubs;
    const { credentials, channel: options } = this.settings;
    const channel = new Channel(this.address, credentials, options);
    const over = { channelOverride: channel };
    this.#channel = channel;
    this.#stubs = {
      jobs: new JobServiceClient(this.address, credentials, over),
      transfers: new TransferServiceClient(this.address, credentials, over),
      system: new SystemServiceClient(this.address, credentials, over),
    };
    return this.#stubs;
  }

  /** Begins a call, which `close` cancels. */
  open<Call extends OpenCall>(begin: (stubs: Stubs) => Call): Call {
    const call = begin(this.stubs());
    this.#open.add(call);
    call.once("status", () => this.#open.delete(call));
    return call;
  }

  /** Makes later calls use a new channel, unless `dead` was replaced already. Open calls stay on the old channel. */
  replace(dead: Stubs): void {
    if (dead !== this.#stubs) return;
    this.#channel?.close();
    this.#channel = this.#stubs = undefined;
  }

  /**
   * Makes a unary call and repeats it while the server is unavailable or busy.
   *
   * All unary calls of the API are safe to repeat: submits have a request id, the others are idempotent.
   * Throws MismoError, or the signal's reason.
   */
  async unary<Response>(method: UnaryMethod<Response>, options: UnaryOptions = {}): Promise<Response> {
    const attempts = this.settings.callAttempts();
    for (;;) {
      options.signal?.throwIfAborted();
      let failed: MismoError;
      try {
        return await this.#once(method, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        failed = toMismoError(error);
      }
      await attempts.waitAfter(failed, options.signal, "call");
    }
  }

  #once<Response>(method: UnaryMethod<Response>, { timeout, signal }: UnaryOptions): Promise<Response> {
    const deadline = Date.now() + (timeout ?? this.settings.callTimeout) * 1000;
    return new Promise((resolve, reject) => {
      const call = this.open((stubs) =>
        method(stubs, new Metadata(), { deadline }, (error, response) => {
          signal?.removeEventListener("abort", cancel);
          if (error === null) resolve(response);
          else reject(error);
        }),
      );
      const cancel = (): void => call.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** Cancels all open calls. Jobs continue. */
  close(): void {
    this.#closed = true;
    for (const call of this.#open) call.cancel();
    this.#channel?.close();
    this.#channel = this.#stubs = undefined;
  }
}

/** Options of one call. */
export interface UnaryOptions {
  /** Seconds for each attempt; the client's `callTimeout` if unset. */
  timeout?: number | undefined;
  /** Cancels the call and its retries; the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}
