/** A server in this process whose answers a test scripts: for behaviour that is rare or impossible in a real server. */

import type { TestContext } from "node:test";

import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";
import { connect, type ConnectOptions, type MismoClient } from "mismo-client";

import { ErrorInfo } from "#dist/generated/google/rpc/error_details.js";
import { Status } from "#dist/generated/google/rpc/status.js";
import {
  JobServiceService,
  type WatchJobRequest,
  type WatchJobResponse,
  type WatchJobsRequest,
  type WatchJobsResponse,
} from "#dist/generated/mismo/analysis/v1/job_service.js";
import { SystemServiceService } from "#dist/generated/mismo/analysis/v1/system_service.js";
import {
  type GetArtifactRequest,
  type GetArtifactResponse,
  type ReadStemRequest,
  type ReadStemResponse,
  type ReadWaveformRequest,
  type ReadWaveformResponse,
  type StreamStemsRequest,
  type StreamStemsResponse,
  TransferServiceService,
} from "#dist/generated/mismo/analysis/v1/transfer_service.js";

/** A queue whose readers wait for values. */
class Queue<T> {
  readonly #values: T[] = [];
  readonly #waiting: ((value: T) => void)[] = [];

  put(value: T): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(value);
    else this.#values.push(value);
  }

  get size(): number {
    return this.#values.length;
  }

  async next(): Promise<T> {
    return this.#values.length > 0 ? this.#values.shift()! : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** Builds the trailer of an error that has a reason. */
function details(code: status, message: string, reason: string): Metadata {
  const info = ErrorInfo.encode(ErrorInfo.fromPartial({ reason, domain: "mismo.dj" })).finish();
  const any = { typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: Buffer.from(info) };
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(Status.encode({ code, message, details: [any] }).finish()));
  return metadata;
}

/** An error as a handler of grpc-js returns it. */
export function refusal(code: status, reason: string, message = reason): object {
  return { code, details: message, metadata: reason ? details(code, message, reason) : new Metadata() };
}

/** The server's side of a stream. */
export class FakeCall<Request, Response> {
  /** The client cancelled. */
  readonly cancelled: Promise<void>;
  readonly #received = new Queue<Request>();

  constructor(private readonly call: ServerWritableStream<Request, Response> | ServerDuplexStream<Request, Response>) {
    this.cancelled = new Promise((resolve) => call.once("cancelled", () => resolve()));
    if ("request" in call) this.#received.put(call.request);
    else {
      call.on("data", (message: Request) => this.#received.put(message));
      call.on("error", () => undefined);
      // The client closed its side.
      call.on("end", () => call.end());
    }
  }

  /** Returns the next message of the client; for a server stream its request. */
  received(): Promise<Request> {
    return this.#received.next();
  }

  /** Number of received messages that the test has not read. */
  get unread(): number {
    return this.#received.size;
  }

  send(...responses: Response[]): void {
    for (const response of responses) this.call.write(response);
  }

  /** Ends it with OK. */
  end(): void {
    this.call.end();
  }

  /** Ends it with an error. */
  fail(code: status, reason: string): void {
    this.call.emit("error", refusal(code, reason));
  }

  /** Ends it as a lost connection does. */
  cut(): void {
    this.fail(status.UNAVAILABLE, "");
  }
}

/** Answers a unary method, or throws a `refusal`. */
type Answer = (request: never) => unknown;

export class FakeServer {
  readonly watchJob = new Queue<FakeCall<WatchJobRequest, WatchJobResponse>>();
  readonly watchJobs = new Queue<FakeCall<WatchJobsRequest, WatchJobsResponse>>();
  readonly streamStems = new Queue<FakeCall<StreamStemsRequest, StreamStemsResponse>>();
  readonly readStem = new Queue<FakeCall<ReadStemRequest, ReadStemResponse>>();
  readonly readWaveform = new Queue<FakeCall<ReadWaveformRequest, ReadWaveformResponse>>();
  readonly getArtifact = new Queue<FakeCall<GetArtifactRequest, GetArtifactResponse>>();
  /** Answers of unary methods, by name. */
  readonly answers: Record<string, Answer> = {};
  readonly #server = new Server();

  private constructor() {
    for (const service of [JobServiceService, TransferServiceService, SystemServiceService]) {
      const handlers = Object.entries(service).map(([name, { responseStream }]) => [
        name,
        responseStream ? this.#streaming(name) : this.#unary(name),
      ]);
      this.#server.addService(service, Object.fromEntries(handlers));
    }
  }

  /** A client of such a server; both are closed when the test ends. */
  static async start(
    context: TestContext,
    options: ConnectOptions = {},
  ): Promise<{ server: FakeServer; client: MismoClient }> {
    const server = new FakeServer();
    const port = await new Promise<number>((resolve, reject) => {
      server.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    const retry = { initial: 0.001 };
    const client = connect(`127.0.0.1:${port}`, { callRetry: retry, streamRetry: retry, ...options });
    context.after(() => {
      client.close();
      server.#server.forceShutdown();
    });
    return { server, client };
  }

  #streaming(name: string) {
    return (call: ServerDuplexStream<unknown, unknown>): void => {
      (this as unknown as Record<string, Queue<FakeCall<unknown, unknown>>>)[name]!.put(new FakeCall(call));
    };
  }

  #unary(name: string) {
    return ({ request }: { request: unknown }, callback: (error: unknown, answer?: unknown) => void): void => {
      try {
        const answer = this.answers[name];
        if (answer === undefined) throw refusal(status.UNIMPLEMENTED, "NOT_SUPPORTED_YET");
        callback(null, answer(request as never));
      } catch (error) {
        callback(error);
      }
    };
  }
}
