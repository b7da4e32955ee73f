/** Streams stems to a player: interleaved by time, limited by credit, with seeks, across broken streams. */

import { type ClientDuplexStream, status } from "@grpc/grpc-js";

import { Encoding } from "../generated/mismo/analysis/v1/audio.js";
import {
  type EndOfStem,
  type NotReady as NotReadyMessage,
  type StemChunk as ChunkMessage,
  type StreamInfo,
  StreamOpen,
  type StreamStemsRequest,
  type StreamStemsResponse,
} from "../generated/mismo/analysis/v1/transfer_service.js";
import type { Connection } from "../rpc/connection.js";
import { seconds } from "../rpc/durations.js";
import { MismoError, RunReplacedError, SeekRefusedError, StreamCorruptError, toMismoError } from "../rpc/errors.js";
import { Lifetime } from "../rpc/lifetime.js";
import { closeGracefully, MessageReader } from "../rpc/message-reader.js";
import type { Attempts } from "../rpc/retry.js";
import { wholeNumber } from "../rpc/whole-number.js";
import { type AppliedSeek, PendingSeeks, type SentSeek } from "./pending-seeks.js";
import { atFrame, atTime, type StartField, startField } from "./start-position.js";
import { StemCredit } from "./stem-credit.js";
import { isSameRun, type StemFormat, stemFormat } from "./stem-format.js";
import { StemGeneration } from "./stem-generation.js";
import type { NotReady, StemChunk, StemStreamOptions } from "./stem-stream.js";

type Call = ClientDuplexStream<StreamStemsRequest, StreamStemsResponse>;
type ClientMessage = NonNullable<StreamStemsRequest["message"]>;

/**
 * An async iterator of chunks. One consumer reads; seeks may come from anywhere at any time.
 *
 * A chunk counts as consumed when the next one is requested; then its credit returns to the server. While a consumer
 * pauses, at most its credit stays unread and the server waits. A seek drops all earlier chunks. After a broken stream
 * each stem continues at its next frame, in the same run. The iteration ends when all stems are read to their end, and
 * another `seek` restarts it. Leaving a `for await` early cancels the call. The job continues.
 *
 * Throws MismoError (the job's own error if the job failed), RunReplacedError, StreamCorruptError, ChecksumError.
 */
export class StemPlayer implements AsyncIterableIterator<StemChunk>, AsyncDisposable {
  readonly #lifetime: Lifetime;
  readonly #attempts: Attempts;
  readonly #credit: StemCredit;
  readonly #seeks = new PendingSeeks();
  #lastTask: Promise<unknown> = Promise.resolve();
  #call: Call | undefined;
  #messages: MessageReader<StreamStemsResponse> | undefined;
  #format: StemFormat | undefined;
  #runId: string;
  #generation: StemGeneration;
  #finished = false;
  /** Chunks that arrived while a seek was pending: delivered if it is refused, dropped if it is applied. */
  #undelivered: StemChunk[] = [];
  /** The last delivered chunk, until it counts as consumed. */
  #lastChunk: StemChunk | undefined;
  #notReady: NotReady | undefined;
  #staleBytes = 0;
  readonly #stemSha256: Record<string, string> = {};

  /** @internal Nothing is sent until it is read. Throws RangeError. */
  constructor(
    private readonly connection: Connection,
    private readonly jobId: string,
    private readonly options: StemStreamOptions,
  ) {
    this.#credit = new StemCredit(options);
    this.#generation = new StemGeneration(0, startField(options));
    this.#runId = options.expectedRunId ?? "";
    wholeNumber("chunkBytes", options.chunkBytes ?? 0);
    this.#attempts = connection.settings.streamAttempts();
    this.#lifetime = new Lifetime(options.signal);
    this.#lifetime.signal.addEventListener("abort", () => this.#abort());
  }

  /** Generation of the delivered chunks: the number of the last applied seek. */
  get generation(): number {
    return this.#generation.number;
  }

  /** Payload bytes of older generations that arrived and were dropped. */
  get staleBytes(): number {
    return this.#staleBytes;
  }

  /** Why the stream waits for audio; undefined while it does not. */
  get notReady(): NotReady | undefined {
    return this.#notReady;
  }

  /**
   * SHA-256 of each stem's samples as its file stores them, lower-case hex by stem name. Contains a stem once the
   * stream has reached its end after the job succeeded.
   */
  get stemSha256(): Readonly<Record<string, string>> {
    return { ...this.#stemSha256 };
  }

  /** Returns the next frame of this stem to arrive; undefined until the format is known. */
  nextFrame(stemName: string): number | undefined {
    const index = this.#format?.stemNames.indexOf(stemName) ?? -1;
    return index < 0 ? undefined : this.#generation.nextFrame(index, this.#format!);
  }

  /** Returns the format of the stems; waits until the track is decoded. Throws as `next` does. */
  format(): Promise<StemFormat> {
    return this.#runInOrder(async () => {
      while (this.#format === undefined) {
        if (this.#lifetime.closed) throw closedError();
        await this.#handleNext();
      }
      return this.#format;
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<StemChunk, undefined>> {
    return this.#runInOrder(async () => {
      this.#consumeLast();
      while (!this.#finished && !this.#lifetime.closed) {
        const canDeliver = this.#undelivered.length > 0 && this.#seeks.isEmpty;
        const chunk = canDeliver ? this.#undelivered.shift() : await this.#handleNext();
        if (chunk !== undefined) {
          this.#lastChunk = chunk;
          return { done: false, value: chunk };
        }
      }
      return { done: true, value: undefined };
    });
  }

  /**
   * Continues all stems at a frame and drops the audio in flight. Resolves with the position where the audio continues
   * once the server has answered, which requires that the stream is read. If a later seek replaces this one, it
   * resolves with the answer to that one.
   *
   * Throws RangeError at once. Rejects with SeekRefusedError past the end of the track; the stream then continues as
   * before. The caller need not handle the rejection.
   */
  seek(frame: number): Promise<AppliedSeek> {
    return this.#seekTo(atFrame("frame", frame));
  }

  /** Seeks to a time in seconds, rounded down to a frame; see `seek`. */
  seekToTime(time: number): Promise<AppliedSeek> {
    return this.#seekTo(atTime("time", time));
  }

  /** Ends the stream and the iteration of a waiting read. The job continues. */
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

  #seekTo(start: StartField): Promise<AppliedSeek> {
    const { seek, answered } = this.#seeks.add(start);
    if (this.#lifetime.signal.aborted) this.#abort();
    this.#finished = false;
    this.#notReady = undefined;
    // The next read opens another call and sends the seek on it.
    if (this.#messages?.isOver) this.#dropCall();
    if (this.#call !== undefined) this.#sendSeek(seek);
    return answered;
  }

  /** Runs one task at a time, in the order of the calls. */
  #runInOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastTask.then(work, work).catch((error: unknown) => {
      this.#seeks.rejectAll(error);
      throw error;
    });
    this.#lastTask = result;
    return result;
  }

  #consumeLast(): void {
    if (this.#lastChunk === undefined) return;
    const { stemIndex, startFrame, frameCount, data, generation } = this.#lastChunk;
    this.#lastChunk = undefined;
    this.#credit.consumeBytes(data.length);
    if (generation !== this.#generation.number) return;
    this.#credit.consumeFrames(this.#generation.consume(stemIndex, startFrame + frameCount, this.#format!));
  }

  /** Handles one message; undefined if it has no chunk to deliver, or if the call broke. */
  async #handleNext(): Promise<StemChunk | undefined> {
    const { signal } = this.#lifetime;
    let broken: MismoError;
    const messages = this.#messages ?? this.#connect();
    try {
      if (this.#isAtEnd()) return this.#finish();
      this.#returnCredit();
      const message = await messages.next();
      if (message !== undefined) return this.#handle(message);
      if (messages !== this.#messages) return undefined;
      broken = new MismoError(status.UNAVAILABLE, "the stream ended before its stems did");
    } catch (error) {
      if (this.#lifetime.closed) return undefined;
      signal.throwIfAborted();
      // A seek found the call broken and dropped it before this read did.
      if (messages !== this.#messages) return undefined;
      broken = toMismoError(error);
    }
    this.#dropCall();
    try {
      await this.#attempts.waitAfter(broken, signal, "stream");
    } catch (error) {
      if (!this.#lifetime.closed) throw error;
    }
    return undefined;
  }

  #connect(): MessageReader<StreamStemsResponse> {
    this.#lifetime.signal.throwIfAborted();
    const call = this.connection.open((stubs) => stubs.transfers.streamStems());
    const messages = new MessageReader<StreamStemsResponse>(call);
    this.#call = call;
    this.#messages = messages;
    // The new call sends the undelivered chunks again.
    for (const chunk of this.#undelivered.reverse()) this.#generation.undoAccept(chunk);
    this.#undelivered = [];
    this.#send({ $case: "open", value: this.#openMessage() });
    for (const seek of this.#seeks.sent) this.#sendSeek(seek);
    return messages;
  }

  #openMessage(): StreamOpen {
    const { stems = [], encoding = Encoding.PCM_S16LE, chunkBytes = 0, follow = false } = this.options;
    return StreamOpen.fromPartial({
      jobId: this.jobId,
      expectedRunId: this.#runId,
      stemNames: [...stems],
      encoding,
      start: this.#generation.start,
      chunkBytes,
      credit: this.#credit.open(),
      follow,
      resumePoints: this.#generation.reopen(this.#format),
      generation: this.#generation.number,
    });
  }

  #sendSeek(seek: SentSeek): void {
    seek.credit = this.#credit.seek();
    const { generation, start, credit } = seek;
    this.#send({ $case: "seek", value: { generation, start, credit } });
  }

  #returnCredit(all = false): void {
    const credit = this.#credit.due(all);
    if (credit !== undefined) this.#send({ $case: "credit", value: credit });
  }

  #send(message: ClientMessage): void {
    // Reading an ended call throws its error.
    if (!this.#messages?.isOver) this.#call?.write({ message });
  }

  #abort(): void {
    this.#dropCall();
    this.#seeks.rejectAll(this.#lifetime.closed ? closedError() : this.#lifetime.signal.reason);
  }

  #dropCall(): void {
    this.#call?.cancel();
    this.#call = this.#messages = undefined;
  }

  #handle({ message }: StreamStemsResponse): StemChunk | undefined {
    switch (message?.$case) {
      case "info":
        this.#handleInfo(message.value);
        break;
      case "chunk":
        return this.#handleChunk(message.value);
      case "seekApplied":
        this.#handleSeekApplied(message.value);
        break;
      case "seekRefused":
        this.#handleSeekRefused(message.value.generation, message.value.message);
        break;
      case "notReady":
        this.#handleNotReady(message.value);
        break;
      case "awaitingCredit":
        // All received chunks are consumed. Grants the remaining credit, however small.
        this.#attempts.progressed();
        this.#returnCredit(true);
        break;
      case "endOfStem":
        this.#handleEndOfStem(message.value);
        break;
      case "end":
        if (message.value.generation === this.generation) this.#generation.ended = true;
        break;
    }
    return undefined;
  }

  #handleInfo(info: StreamInfo): void {
    this.#attempts.connected();
    const format = stemFormat(info);
    if (this.#format !== undefined && !isSameRun(format, this.#format)) {
      throw new RunReplacedError(`job ${this.jobId} was run again; open a new stream`);
    }
    this.#format = format;
    this.#runId = format.runId;
  }

  #handleChunk(message: ChunkMessage): StemChunk | undefined {
    const { stemIndex, startFrame, frameCount, data, generation } = message;
    if (generation < this.generation) {
      this.#discard(data.length);
      return undefined;
    }
    if (generation > this.generation) throw new StreamCorruptError(`generation ${generation} began without a seek`);
    const stemName = this.#stemName(stemIndex);
    this.#generation.accept(message, stemName);
    this.#attempts.progressed();
    this.#notReady = undefined;
    const chunk = { stemIndex, stemName, startFrame, frameCount, data, generation };
    if (this.#seeks.isEmpty && this.#undelivered.length === 0) return chunk;
    this.#undelivered.push(chunk);
    return undefined;
  }

  #handleSeekApplied(applied: AppliedSeek): void {
    const { generation, startFrame } = applied;
    if (generation <= this.generation) return;
    this.#generation = new StemGeneration(generation, { $case: "startFrame", value: startFrame });
    this.#credit.restartFrames();
    for (const chunk of this.#undelivered) this.#discard(chunk.data.length);
    this.#undelivered = [];
    this.#notReady = undefined;
    this.#seeks.applied({ generation, startFrame });
  }

  #handleSeekRefused(generation: number, message: string): void {
    const seek = this.#seeks.refused(generation, new SeekRefusedError(message));
    if (seek?.credit !== undefined) this.#credit.seekRefused(seek.credit);
  }

  #handleNotReady({ generation, range, reason, expectedIn }: NotReadyMessage): void {
    this.#attempts.progressed();
    if (generation < this.generation) return;
    this.#notReady = { range, reason, expectedIn: expectedIn && seconds(expectedIn) };
    this.options.onNotReady?.(this.#notReady);
  }

  #handleEndOfStem(end: EndOfStem): void {
    const stemName = this.#stemName(end.stemIndex);
    if (end.stemSha256 !== "") this.#stemSha256[stemName] = end.stemSha256;
    if (end.generation === this.generation) this.#generation.checkEnd(end, stemName, this.#format!);
  }

  #discard(bytes: number): void {
    this.#staleBytes += bytes;
    this.#credit.consumeBytes(bytes);
  }

  #stemName(index: number): string {
    if (this.#format === undefined) throw new StreamCorruptError("the stream did not begin with its format");
    const name = this.#format.stemNames[index];
    if (name === undefined) throw new StreamCorruptError(`there is no stem ${index} in this stream`);
    return name;
  }

  /** The server has sent everything, and no seek is pending. */
  #isAtEnd(): boolean {
    return this.#generation.ended && this.#seeks.isEmpty && this.#undelivered.length === 0;
  }

  #finish(): undefined {
    if (this.#format === undefined) throw new StreamCorruptError("the stream did not begin with its format");
    this.#generation.checkComplete(this.#format);
    this.#finished = true;
    // An open call would keep a finished program alive. A later seek opens another call.
    if (this.#call !== undefined && this.#messages !== undefined) closeGracefully(this.#call, this.#messages);
    this.#call = this.#messages = undefined;
  }
}

function closedError(): MismoError {
  return new MismoError(status.CANCELLED, "the stream was closed");
}
