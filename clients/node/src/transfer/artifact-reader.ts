/** Reads an artifact of a job. */

import { createHash } from "node:crypto";

import type { Artifact } from "../generated/mismo/analysis/v1/job.js";
import { GetArtifactRequest, type GetArtifactResponse } from "../generated/mismo/analysis/v1/transfer_service.js";
import type { Connection } from "../rpc/connection.js";
import { ChecksumError, RunReplacedError, StreamCorruptError } from "../rpc/errors.js";
import { reconnectingStream } from "../rpc/reconnecting-stream.js";
import type { Attempts } from "../rpc/retry.js";
import { crc32c } from "./crc32c.js";

/** Called with the transferred and the total bytes. */
export type OnBytes = (done: number, total: number) => void;

/** Options of reading an artifact. */
export interface ArtifactOptions {
  /** The run that the file must belong to; unset: the newest. */
  expectedRunId?: string;
  onProgress?: OnBytes;
}

/** Reads one artifact. After a broken stream it continues at the next byte. */
export class ArtifactReader {
  /** Undefined until the first message has arrived. */
  artifact: Artifact | undefined;
  /** The run of the artifact; the expected run or "" until the first message has arrived. */
  runId: string;
  /** Bytes delivered. */
  offset = 0;
  readonly #attempts: Attempts;
  readonly #hash = createHash("sha256");
  #isFirst = true;

  constructor(
    private readonly connection: Connection,
    private readonly jobId: string,
    private readonly name: string,
    private readonly options: ArtifactOptions,
  ) {
    this.runId = options.expectedRunId ?? "";
    this.#attempts = connection.settings.streamAttempts();
  }

  /** Throws MismoError, RunReplacedError, StreamCorruptError, ChecksumError, or the signal's reason. */
  async *chunks(signal: AbortSignal): AsyncGenerator<Buffer, void> {
    for (;;) {
      let broken: StreamCorruptError | undefined;
      try {
        for await (const message of this.#messages(signal)) yield this.#handle(message);
      } catch (error) {
        if (!(error instanceof StreamCorruptError)) throw error;
        broken = error;
      }
      const total = this.artifact?.totalBytes ?? 0;
      if (broken === undefined && this.artifact !== undefined && this.offset >= total) return this.#verify();
      broken ??= new StreamCorruptError(`${this.name} ended after ${this.offset} of ${total} bytes`);
      await this.#attempts.waitAfter(broken, signal, "stream");
    }
  }

  #messages(signal: AbortSignal): AsyncGenerator<GetArtifactResponse, void> {
    const { connection, jobId, name } = this;
    return reconnectingStream({
      connection,
      attempts: this.#attempts,
      signal,
      begin: (stubs) => {
        this.#isFirst = true;
        const { offset, runId: expectedRunId } = this;
        return stubs.transfers.getArtifact(GetArtifactRequest.fromPartial({ jobId, expectedRunId, name, offset }));
      },
    });
  }

  #handle(message: GetArtifactResponse): Buffer {
    const { data, offset } = message;
    if (this.#isFirst) this.#handleFirst(message);
    if (crc32c(data) !== message.crc32c) {
      throw new StreamCorruptError(`${this.name}: the checksum of the bytes at ${offset} is wrong`);
    }
    if (data.length > 0 && offset !== this.offset) {
      throw new StreamCorruptError(`${this.name} continued at byte ${offset} instead of ${this.offset}`);
    }
    this.#attempts.progressed();
    this.offset += data.length;
    this.#hash.update(data);
    this.options.onProgress?.(this.offset, this.artifact!.totalBytes);
    return data;
  }

  #handleFirst({ artifact, runId }: GetArtifactResponse): void {
    if (artifact === undefined) throw new StreamCorruptError(`${this.name} did not begin with its description`);
    const isSame = artifact.totalBytes === this.artifact?.totalBytes && artifact.sha256 === this.artifact.sha256;
    if ((this.runId !== "" && runId !== this.runId) || (this.artifact !== undefined && !isSame)) {
      throw new RunReplacedError(`job ${this.jobId} has a new ${this.name}; fetch it again`);
    }
    this.#isFirst = false;
    this.artifact = artifact;
    this.runId = runId;
  }

  #verify(): void {
    const expected = this.artifact!.sha256;
    const actual = this.#hash.digest("hex");
    // An archive that the server builds while it sends it has no SHA-256.
    if (expected !== "" && actual !== expected) {
      throw new ChecksumError(`${this.name} has a wrong SHA-256; fetch it again`, expected, actual);
    }
  }
}
