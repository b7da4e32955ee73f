/** One stem, read from a frame on. */

import { status } from "@grpc/grpc-js";

import type { Connection } from "./connection.js";
import { crc32c } from "./crc32c.js";
import { JobChangedError, MismoError, StreamCorruptError } from "./errors.js";
import { Encoding } from "./generated/mismo/analysis/v1/audio.js";
import { ReadStemRequest, type ReadStemResponse } from "./generated/mismo/analysis/v1/transfer_service.js";
import type { Attempts } from "./retry.js";
import { sameFormat, type StemFormat, stemFormat } from "./stem-format.js";
import { unbroken } from "./unbroken.js";
import { wholeNumber } from "./whole-number.js";

const DEFAULT_CHUNK_BYTES = 256 * 1024;

/** Frames [startFrame, startFrame + frameLimit) of a stem. */
export interface ReadStemOptions {
  /** PCM_S16LE if unset. */
  encoding?: Encoding;
  /** Where to begin (0). With FLAC the reading begins at the FLAC frame that holds it. */
  startFrame?: number;
  /** How many frames; 0 or unset: to the end. */
  frameLimit?: number;
  /** Wait for what is not separated yet; otherwise it ends with MismoError, reason JOB_NOT_READY (false). */
  follow?: boolean;
  /** Payload of a chunk at most (256 KiB). */
  chunkBytes?: number;
}

/** A piece of the stem, and the form of all of them. */
export interface ReadChunk {
  readonly format: StemFormat;
  readonly startFrame: number;
  readonly frameCount: number;
  readonly data: Buffer;
}

/** One reading; goes on where it stopped after a broken stream. */
export class StemReading {
  /** Known once the first message came. */
  format: StemFormat | undefined;
  readonly #attempts: Attempts;
  readonly #startFrame: number;
  readonly #frameLimit: number;
  #nextFrame: number | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly jobId: string,
    private readonly stemName: string,
    private readonly options: ReadStemOptions,
  ) {
    this.#attempts = connection.settings.streamAttempts();
    this.#startFrame = wholeNumber("startFrame", options.startFrame ?? 0);
    this.#frameLimit = wholeNumber("frameLimit", options.frameLimit ?? 0);
  }

  /** Throws MismoError, StreamCorruptError, JobChangedError, or the signal's reason. */
  async *chunks(signal: AbortSignal): AsyncGenerator<ReadChunk, void> {
    while (!this.#isComplete()) {
      let broken = new MismoError(status.UNAVAILABLE, "the stream ended before the stem did");
      try {
        for await (const message of this.#messages(signal)) {
          const chunk = this.#take(message);
          if (chunk !== undefined) yield chunk;
        }
      } catch (error) {
        if (!(error instanceof StreamCorruptError)) throw error;
        broken = error;
      }
      if (!this.#isComplete()) await this.#attempts.after(broken, signal, "stream");
    }
  }

  #messages(signal: AbortSignal): AsyncGenerator<ReadStemResponse, void> {
    const { connection, jobId, stemName, options } = this;
    return unbroken({
      connection,
      attempts: this.#attempts,
      signal,
      begin: (stubs) => {
        const startFrame = this.#nextFrame ?? this.#startFrame;
        const done = startFrame - this.#startFrame;
        return stubs.transfers.readStem(
          ReadStemRequest.fromPartial({
            jobId,
            stemName,
            startFrame,
            frameLimit: this.#frameLimit && this.#frameLimit - done,
            encoding: options.encoding ?? Encoding.PCM_S16LE,
            follow: options.follow ?? false,
            chunkBytes: wholeNumber("chunkBytes", options.chunkBytes ?? DEFAULT_CHUNK_BYTES),
          }),
        );
      },
    });
  }

  #isComplete(): boolean {
    if (this.format === undefined) return false;
    const { totalFrames } = this.format;
    const end = this.#frameLimit ? Math.min(this.#startFrame + this.#frameLimit, totalFrames) : totalFrames;
    return (this.#nextFrame ?? this.#startFrame) >= end;
  }

  #take(message: ReadStemResponse): ReadChunk | undefined {
    const { startFrame, frameCount, data } = message;
    if (message.info !== undefined) {
      const format = stemFormat(message.info);
      if (this.format !== undefined && !sameFormat(format, this.format)) {
        throw new JobChangedError(`job ${this.jobId} ran anew in another form; read it again`);
      }
      this.format = format;
    }
    if (data.length === 0) return undefined;
    if (this.format === undefined) throw new StreamCorruptError("the stream did not begin with its form");
    if (crc32c(data) !== message.crc32c) {
      throw new StreamCorruptError(`a chunk at frame ${startFrame} does not fit its checksum`);
    }
    if (this.#nextFrame !== undefined && startFrame !== this.#nextFrame) {
      throw new StreamCorruptError(`the stem went on at frame ${startFrame} instead of ${this.#nextFrame}`);
    }
    this.#attempts.progressed();
    this.#nextFrame = startFrame + frameCount;
    return { format: this.format, startFrame, frameCount, data };
  }
}
