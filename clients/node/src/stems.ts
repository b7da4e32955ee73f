/** Stems for a player: interleaved by time, paced by credits, with seek, over broken streams. */

import { type ClientDuplexStream, status } from "@grpc/grpc-js";

import type { Connection } from "./connection.js";
import { crc32c } from "./crc32c.js";
import { asMismoError, JobChangedError, MismoError, StreamCorruptError } from "./errors.js";
import { Encoding, type FrameRange } from "./generated/mismo/analysis/v1/audio.js";
import {
  type StemChunk as ChunkMessage,
  type StreamInfo,
  StreamOpen,
  type StreamStemsRequest,
  type StreamStemsResponse,
} from "./generated/mismo/analysis/v1/transfer_service.js";
import { Lifetime } from "./lifetime.js";
import { endWell, Messages } from "./messages.js";
import type { Attempts } from "./retry.js";
import { sameFormat, type StemFormat, stemFormat } from "./stem-format.js";
import { wholeNumber } from "./whole-number.js";

type Call = ClientDuplexStream<StreamStemsRequest, StreamStemsResponse>;
type ClientMessage = NonNullable<StreamStemsRequest["message"]>;

const DEFAULT_CREDIT_BYTES = 1 << 20;
/** Of a larger credit the server always holds at least this much: room for one FLAC frame. */
const SPARE_CREDIT_BYTES = 32_768;

/** Consecutive frames of one stem. */
export interface StemChunk {
  readonly stemIndex: number;
  readonly stemName: string;
  readonly startFrame: number;
  readonly frameCount: number;
  readonly data: Buffer;
  /** Counts the seeks before it. */
  readonly generation: number;
}

/** What to stream. */
export interface StemStreamOptions {
  /** Some of the job's stems; all if empty. */
  stems?: readonly string[];
  /** PCM_S16LE if unset. */
  encoding?: Encoding;
  /** Where to begin (0). With FLAC the first chunk begins at the FLAC frame that holds it. */
  startFrame?: number;
  /** The server separates first what this player needs next (false). */
  follow?: boolean;
  /** Payload bytes that are ever on their way or unread, over all stems (1 MiB). */
  creditBytes?: number;
  /** Payload of a chunk at most; the server's default if unset. */
  chunkBytes?: number;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * An async iterator of chunks; one consumer reads, anybody may seek at any time.
 *
 * A chunk counts as taken, and its credit goes back, when the next one is asked for: a consumer that pauses
 * leaves at most `creditBytes` unread, and the server waits. Chunks from before a seek are dropped unseen.
 * After a broken stream it goes on where each stem stopped. Iteration ends when all stems were read to their
 * end, and begins again after another `seek`. Leaving a `for await` early cancels the call; the job lives on.
 *
 * Throws MismoError (the job's own error if the job failed), StreamCorruptError, JobChangedError.
 */
export class StemPlayer implements AsyncIterableIterator<StemChunk>, AsyncDisposable {
  readonly #lifetime: Lifetime;
  readonly #attempts: Attempts;
  readonly #creditBytes: number;
  readonly #returnAt: number;
  #turn: Promise<unknown> = Promise.resolve();
  #call: Call | undefined;
  #messages: Messages<StreamStemsResponse> | undefined;
  // Where playing stands
  #format: StemFormat | undefined;
  #startFrame: number;
  #nextFrames = new Map<number, number>();
  #generation = 0;
  #finished = false;
  #sha256: Record<string, string> = {};
  #waitingFor: FrameRange | undefined;
  // What the open call knows: its own generations begin at 0
  #callGeneration = 0;
  // Payload bytes
  #inHand = 0;
  #toReturn = 0;
  #staleBytes = 0;

  /** @internal Nothing is sent until it is read. */
  constructor(
    private readonly connection: Connection,
    private readonly jobId: string,
    private readonly options: StemStreamOptions,
  ) {
    this.#creditBytes = wholeNumber("creditBytes", options.creditBytes ?? DEFAULT_CREDIT_BYTES);
    if (this.#creditBytes <= 0) throw new RangeError("creditBytes must be greater than 0");
    this.#startFrame = wholeNumber("startFrame", options.startFrame ?? 0);
    this.#returnAt = Math.max(1, Math.min(this.#creditBytes >> 1, this.#creditBytes - SPARE_CREDIT_BYTES));
    this.#attempts = connection.settings.streamAttempts();
    this.#lifetime = new Lifetime(options.signal);
    this.#lifetime.signal.addEventListener("abort", () => this.#dropCall());
  }

  /** Seeks so far. */
  get generation(): number {
    return this.#generation;
  }

  /** Payload bytes that came for an older generation and were dropped, over all seeks. */
  get staleBytes(): number {
    return this.#staleBytes;
  }

  /** Frames that the server still separates before it can send more; else undefined. */
  get waitingFor(): FrameRange | undefined {
    return this.#waitingFor;
  }

  /** Of the finished stem files' samples as PCM, lower-case hex by stem, as far as the server told. */
  get sha256(): Readonly<Record<string, string>> {
    return { ...this.#sha256 };
  }

  /** The first frame of this stem that was not handed out since the last seek. */
  nextFrame(stemName: string): number {
    const index = this.#format?.stemNames.indexOf(stemName) ?? -1;
    return this.#nextFrames.get(index) ?? this.#startFrame;
  }

  /** The stems' form; waits until the track is decoded. Errors as of `next`. */
  format(): Promise<StemFormat> {
    return this.#inTurn(async () => {
      while (this.#format === undefined) {
        if (this.#lifetime.closed) throw new MismoError(status.CANCELLED, "the stream was closed");
        await this.#advance();
      }
      return this.#format;
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<StemChunk, undefined>> {
    return this.#inTurn(async () => {
      this.#toReturn += this.#inHand;
      this.#inHand = 0;
      while (!this.#finished && !this.#lifetime.closed) {
        const chunk = await this.#advance();
        if (chunk === undefined) continue;
        this.#inHand = chunk.data.length;
        return { done: false, value: chunk };
      }
      return { done: true, value: undefined };
    });
  }

  /** Goes on at `frame`, for all stems; what is on its way is dropped. Throws RangeError. */
  seek(frame: number): void {
    this.#startFrame = wholeNumber("frame", frame);
    this.#generation += 1;
    this.#nextFrames.clear();
    this.#finished = false;
    this.#waitingFor = undefined;
    // An opening call begins there anyway.
    if (this.#messages?.over) this.#dropCall();
    const generation = this.#generation - this.#callGeneration;
    this.#send({ $case: "seek", value: { generation, startFrame: frame } });
  }

  /** Ends the stream; a read that waits ends its iteration. The job lives on. */
  close(): void {
    this.#lifetime.close();
  }

  async return(): Promise<IteratorResult<StemChunk, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** One at a time, in the order of the calls. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work, work);
    this.#turn = result;
    return result;
  }

  /** Takes one message; undefined where it brought no audio, or the stream was opened again. */
  async #advance(): Promise<StemChunk | undefined> {
    const { signal } = this.#lifetime;
    let broken: MismoError;
    const messages = this.#messages ?? this.#connect();
    try {
      if (this.#toReturn >= this.#returnAt) {
        this.#send({ $case: "credit", value: { bytes: this.#toReturn } });
        this.#toReturn = 0;
      }
      const message = await messages.next();
      if (message !== undefined) return this.#take(message);
      if (this.#finished || messages !== this.#messages) return undefined;
      broken = new MismoError(status.UNAVAILABLE, "the stream ended before its stems did");
    } catch (error) {
      if (this.#lifetime.closed) return undefined;
      signal.throwIfAborted();
      // A seek found the call broken and dropped it before this read did.
      if (messages !== this.#messages) return undefined;
      broken = asMismoError(error);
    }
    this.#dropCall();
    try {
      await this.#attempts.after(broken, signal, "stream");
    } catch (error) {
      if (!this.#lifetime.closed) throw error;
    }
    return undefined;
  }

  #connect(): Messages<StreamStemsResponse> {
    this.#lifetime.signal.throwIfAborted();
    const call = this.connection.open((stubs) => stubs.transfers.streamStems());
    const messages = new Messages<StreamStemsResponse>(call);
    this.#call = call;
    this.#messages = messages;
    this.#callGeneration = this.#generation;
    this.#toReturn = 0;
    this.#send({ $case: "open", value: this.#openMessage() });
    return messages;
  }

  #openMessage(): StreamOpen {
    const { stems, encoding, chunkBytes, follow } = this.options;
    const names = this.#format?.stemNames ?? [];
    return StreamOpen.fromPartial({
      jobId: this.jobId,
      stemNames: [...(stems ?? [])],
      encoding: encoding ?? Encoding.PCM_S16LE,
      startFrame: this.#startFrame,
      chunkBytes: wholeNumber("chunkBytes", chunkBytes ?? 0),
      creditBytes: this.#creditBytes,
      follow: follow ?? false,
      resumePoints: [...this.#nextFrames].map(([index, startFrame]) => ({ stemName: names[index]!, startFrame })),
    });
  }

  #send(message: ClientMessage): void {
    // A call that has ended says why when it is read.
    if (!this.#messages?.over) this.#call?.write({ message });
  }

  #dropCall(): void {
    this.#call?.cancel();
    this.#call = this.#messages = undefined;
  }

  #take({ message }: StreamStemsResponse): StemChunk | undefined {
    switch (message?.$case) {
      case "chunk":
        return this.#takeChunk(message.value);
      case "info":
        this.#attempts.connected();
        this.#takeInfo(message.value);
        return undefined;
      case "notReady":
        this.#attempts.progressed();
        if (this.#isCurrent(message.value.generation)) this.#waitingFor = message.value.range;
        return undefined;
      case "endOfStem":
        if (message.value.sha256) this.#sha256[this.#stemName(message.value.stemIndex)] = message.value.sha256;
        return undefined;
      case "end":
        if (this.#isCurrent(message.value.generation)) this.#finish();
        return undefined;
      default:
        return undefined;
    }
  }

  #isCurrent(generation: number): boolean {
    return this.#callGeneration + generation === this.#generation;
  }

  #takeInfo(info: StreamInfo): void {
    const format = stemFormat(info);
    if (this.#format !== undefined && !sameFormat(format, this.#format)) {
      throw new JobChangedError(`job ${this.jobId} ran anew in another form; begin again with a new stream`);
    }
    this.#format = format;
  }

  #knownFormat(): StemFormat {
    if (this.#format === undefined) throw new StreamCorruptError("the stream did not begin with its form");
    return this.#format;
  }

  #stemName(index: number): string {
    const name = this.#knownFormat().stemNames[index];
    if (name === undefined) throw new StreamCorruptError(`there is no stem ${index} in this stream`);
    return name;
  }

  #takeChunk(chunk: ChunkMessage): StemChunk | undefined {
    const { stemIndex, startFrame, frameCount, data } = chunk;
    if (!this.#isCurrent(chunk.generation)) {
      this.#staleBytes += data.length;
      this.#toReturn += data.length;
      return undefined;
    }
    if (crc32c(data) !== chunk.crc32c) {
      throw new StreamCorruptError(`a chunk at frame ${startFrame} does not fit its checksum`);
    }
    const stemName = this.#stemName(stemIndex);
    const expected = this.#nextFrames.get(stemIndex);
    if (expected !== undefined && startFrame !== expected) {
      throw new StreamCorruptError(`${stemName} went on at frame ${startFrame} instead of ${expected}`);
    }
    this.#attempts.progressed();
    this.#nextFrames.set(stemIndex, startFrame + frameCount);
    this.#waitingFor = undefined;
    return { stemIndex, stemName, startFrame, frameCount, data, generation: this.#generation };
  }

  #finish(): void {
    const format = this.#knownFormat();
    for (const [index, name] of format.stemNames.entries()) {
      const reached = this.#nextFrames.get(index) ?? this.#startFrame;
      if (reached < format.totalFrames) {
        throw new StreamCorruptError(`${name} ended at frame ${reached} of ${format.totalFrames}`);
      }
    }
    this.#finished = true;
    // The server would wait for seeks, and the open call would keep a finished program alive. A later seek
    // opens another call.
    if (this.#call !== undefined && this.#messages !== undefined) endWell(this.#call, this.#messages);
    this.#call = this.#messages = undefined;
  }
}
