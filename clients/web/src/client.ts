/** The entry to a server: its services, and what the other classes of this package need of it. */

import { type Client, createClient } from "@connectrpc/connect";

import { JobService } from "./generated/mismo/analysis/v1/job_service_pb.js";
import { SystemService } from "./generated/mismo/analysis/v1/system_service_pb.js";
import { TransferService } from "./generated/mismo/analysis/v1/transfer_service_pb.js";
import { webSocketTransport } from "./rpc/transport.js";

/** Options of a MismoClient. */
export interface ClientOptions {
  /** The server's address, such as `http://192.168.1.5:8000`; by default that of the page. */
  baseUrl?: string;
}

/** A server. Calls throw MismoError. There is nothing to close: each call has a WebSocket of its own. */
export class MismoClient {
  /** The server's address; ends with a slash. */
  readonly baseUrl: URL;
  /** Submits, lists, watches and changes jobs. */
  readonly jobs: Client<typeof JobService>;
  /** Uploads, stems, waveforms and artifacts. */
  readonly transfer: Client<typeof TransferService>;
  /** The server, its models and stages. */
  readonly system: Client<typeof SystemService>;

  /** Throws TypeError if `baseUrl` is no URL. */
  constructor(options: ClientOptions = {}) {
    const address = options.baseUrl ?? globalThis.location.origin;
    this.baseUrl = new URL(address.endsWith("/") ? address : `${address}/`);
    const transport = webSocketTransport(this.baseUrl);
    this.jobs = createClient(JobService, transport);
    this.transfer = createClient(TransferService, transport);
    this.system = createClient(SystemService, transport);
  }

  /** The address of an artifact for a link or a download by HTTP. */
  artifactUrl(jobId: string, name: string): string {
    const path = name.split("/").map(encodeURIComponent).join("/");
    return new URL(`jobs/${encodeURIComponent(jobId)}/artifacts/${path}`, this.baseUrl).href;
  }
}
