/** A finished file of a job, byte for byte. */

import type { Connection } from "./connection.js";
import { crc32c } from "./crc32c.js";
import { JobChangedError, StreamCorruptError } from "./errors.js";
import { GetArtifactRequest, type GetArtifactResponse } from "./generated/mismo/analysis/v1/transfer_service.js";
import type { Attempts } from "./retry.js";
import { unbroken } from "./unbroken.js";

/** Told of bytes done and bytes in all. */
export type OnBytes = (done: number, total: number) => void;

/** One artifact on its way; goes on where it stopped after a broken stream. */
export class ArtifactFetch {
  readonly #attempts: Attempts;
  /** Bytes handed out. */
  offset = 0;
  contentType = "";
  #total = 0;
  #isFirst = true;

  constructor(
    private readonly connection: Connection,
    private readonly jobId: string,
    private readonly name: string,
    private readonly onProgress?: OnBytes,
  ) {
    this.#attempts = connection.settings.streamAttempts();
  }

  /** Throws MismoError, StreamCorruptError, JobChangedError, or the signal's reason. */
  async *chunks(signal: AbortSignal): AsyncGenerator<Buffer, void> {
    for (;;) {
      let broken: StreamCorruptError | undefined;
      try {
        for await (const message of this.#messages(signal)) yield this.#take(message);
      } catch (error) {
        if (!(error instanceof StreamCorruptError)) throw error;
        broken = error;
      }
      if (broken === undefined && this.offset >= this.#total) return;
      broken ??= new StreamCorruptError(`${this.name} ended after ${this.offset} of ${this.#total} bytes`);
      await this.#attempts.after(broken, signal, "stream");
    }
  }

  #messages(signal: AbortSignal): AsyncGenerator<GetArtifactResponse, void> {
    const { connection, jobId, name } = this;
    return unbroken({
      connection,
      attempts: this.#attempts,
      signal,
      begin: (stubs) => {
        this.#isFirst = true;
        return stubs.transfers.getArtifact(GetArtifactRequest.fromPartial({ jobId, name, offset: this.offset }));
      },
    });
  }

  #take(message: GetArtifactResponse): Buffer {
    const { data, offset } = message;
    if (this.#isFirst) {
      this.#isFirst = false;
      if (this.offset > 0 && message.totalBytes !== this.#total) {
        throw new JobChangedError(`job ${this.jobId} made a new ${this.name} meanwhile; fetch it again`);
      }
      this.#total = message.totalBytes;
      this.contentType = message.contentType;
    }
    if (crc32c(data) !== message.crc32c) {
      throw new StreamCorruptError(`${this.name}: bytes at ${offset} do not fit their checksum`);
    }
    if (data.length > 0 && offset !== this.offset) {
      throw new StreamCorruptError(`${this.name} went on at byte ${offset} instead of ${this.offset}`);
    }
    this.#attempts.progressed();
    this.offset += data.length;
    this.onProgress?.(this.offset, this.#total);
    return data;
  }
}
