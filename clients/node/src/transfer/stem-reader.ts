/** Reads one stem from a position to the end or to a limit. */

import { status } from "@grpc/grpc-js";

import type { Duration } from "../generated/google/protobuf/duration.js";
import { Encoding } from "../generated/mismo/analysis/v1/audio.js";
import {
  ReadStemRequest,
  type ReadStemResponse,
  type StreamInfo,
} from "../generated/mismo/analysis/v1/transfer_service.js";
import type { Connection } from "../rpc/connection.js";
import { frameAt, toDuration } from "../rpc/durations.js";
import { MismoError, RunReplacedError, StreamCorruptError } from "../rpc/errors.js";
import { reconnectingStream } from "../rpc/reconnecting-stream.js";
import type { Attempts } from "../rpc/retry.js";
import { wholeNumber } from "../rpc/whole-number.js";
import { crc32c } from "./crc32c.js";
import { frameOf, type StartField, startField, type StartPosition } from "./start-position.js";
import { isSameRun, type StemFormat, stemFormat } from "./stem-format.js";

const DEFAULT_CHUNK_BYTES = 256 * 1024;

/** Options of reading a stem. */
export interface ReadStemOptions extends StartPosition {
  /** PCM_S16LE if unset. */
  encoding?: Encoding;
  /** Frames to read; 0 or unset: to the end. */
  frameLimit?: number;
  /** Seconds to read; excludes `frameLimit`. */
  timeLimit?: number;
  /** Wait for segments that are not separated yet; otherwise throw MismoError, reason JOB_NOT_READY (false). */
  follow?: boolean;
  /** Most payload bytes of a chunk (256 KiB). */
  chunkBytes?: number;
  /** The run that the audio must belong to; unset: the newest. */
  expectedRunId?: string;
}

/** Consecutive frames of the stem with their format. */
export interface ReadChunk {
  readonly format: StemFormat;
  readonly startFrame: number;
  readonly frameCount: number;
  readonly data: Buffer;
}

type LimitField = { $case: "frameLimit"; value: number } | { $case: "timeLimit"; value: Duration };

/** Reads one stem. After a broken stream it continues at the next frame. */
export class StemReader {
  /** Undefined until the first message has arrived. */
  format: StemFormat | undefined;
  readonly #attempts: Attempts;
  readonly #start: StartField;
  readonly #limit: LimitField | undefined;
  #runId: string;
  #nextFrame: number | undefined;

  /** Throws RangeError. */
  constructor(
    private readonly connection: Connection,
    private readonly jobId: string,
    private readonly stemName: string,
    private readonly options: ReadStemOptions,
  ) {
    this.#attempts = connection.settings.streamAttempts();
    this.#start = startField(options);
    this.#limit = limitField(options);
    this.#runId = options.expectedRunId ?? "";
  }

  /** The requested frame; undefined until the sample rate is known. */
  get startFrame(): number | undefined {
    return this.format && frameOf(this.#start, this.format.sampleRate);
  }

  /** Yields the chunks. Throws MismoError, RunReplacedError, StreamCorruptError, or the signal's reason. */
  async *chunks(signal: AbortSignal): AsyncGenerator<ReadChunk, void> {
    while (!this.#isComplete()) {
      let broken = new MismoError(status.UNAVAILABLE, "the stream ended before the stem did");
      try {
        for await (const message of this.#messages(signal)) {
          const chunk = this.#handle(message);
          if (chunk !== undefined) yield chunk;
        }
      } catch (error) {
        if (!(error instanceof StreamCorruptError)) throw error;
        broken = error;
      }
      if (!this.#isComplete()) await this.#attempts.waitAfter(broken, signal, "stream");
    }
  }

  #messages(signal: AbortSignal): AsyncGenerator<ReadStemResponse, void> {
    const { connection, jobId, stemName, options } = this;
    return reconnectingStream({
      connection,
      attempts: this.#attempts,
      signal,
      begin: (stubs) =>
        stubs.transfers.readStem(
          ReadStemRequest.fromPartial({
            jobId,
            expectedRunId: this.#runId,
            stemName,
            ...this.#remaining(),
            encoding: options.encoding ?? Encoding.PCM_S16LE,
            follow: options.follow ?? false,
            chunkBytes: wholeNumber("chunkBytes", options.chunkBytes ?? DEFAULT_CHUNK_BYTES),
          }),
        ),
    });
  }

  /** Returns the range that remains to be read: the requested one, or in frames once audio has arrived. */
  #remaining(): { start: StartField; limit: LimitField | undefined } {
    if (this.#nextFrame === undefined) return { start: this.#start, limit: this.#limit };
    const value = this.#nextFrame;
    const limit = this.#limit && { $case: "frameLimit" as const, value: this.#end() - value };
    return { start: { $case: "startFrame", value }, limit };
  }

  /** Returns the first frame after the requested ones. */
  #end(): number {
    const { sampleRate, totalFrames } = this.format!;
    if (this.#limit === undefined) return totalFrames;
    const frames = this.#limit.$case === "frameLimit" ? this.#limit.value : frameAt(this.#limit.value, sampleRate);
    return Math.min(this.startFrame! + frames, totalFrames);
  }

  #isComplete(): boolean {
    return this.format !== undefined && (this.#nextFrame ?? this.startFrame!) >= this.#end();
  }

  #handle(message: ReadStemResponse): ReadChunk | undefined {
    const { startFrame, frameCount, data } = message;
    if (message.info !== undefined) this.#handleInfo(message.info);
    if (data.length === 0) return undefined;
    if (this.format === undefined) throw new StreamCorruptError("the stream did not begin with its format");
    if (crc32c(data) !== message.crc32c) {
      throw new StreamCorruptError(`a chunk at frame ${startFrame} has a wrong checksum`);
    }
    if (this.#nextFrame !== undefined && startFrame !== this.#nextFrame) {
      throw new StreamCorruptError(`the stem continued at frame ${startFrame} instead of ${this.#nextFrame}`);
    }
    this.#attempts.progressed();
    this.#nextFrame = startFrame + frameCount;
    return { format: this.format, startFrame, frameCount, data };
  }

  #handleInfo(info: StreamInfo): void {
    const format = stemFormat(info);
    if (this.format !== undefined && !isSameRun(format, this.format)) {
      throw new RunReplacedError(`job ${this.jobId} was run again; read its stem ${this.stemName} again`);
    }
    this.format = format;
    this.#runId = format.runId;
  }
}

/** Converts the limit; undefined: to the end. Throws RangeError. */
function limitField({ frameLimit, timeLimit }: ReadStemOptions): LimitField | undefined {
  if (frameLimit !== undefined && timeLimit !== undefined) {
    throw new RangeError("frameLimit and timeLimit exclude each other");
  }
  if (timeLimit !== undefined) {
    if (timeLimit < 0) throw new RangeError("timeLimit must not be negative");
    return timeLimit === 0 ? undefined : { $case: "timeLimit", value: toDuration(timeLimit) };
  }
  if (wholeNumber("frameLimit", frameLimit ?? 0) < 0) throw new RangeError("frameLimit must not be negative");
  return frameLimit ? { $case: "frameLimit", value: frameLimit } : undefined;
}
