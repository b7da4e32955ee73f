/** Stems for a player: interleaved by time, limited by credit, with seek, over broken streams. */

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
 * A chunk counts as taken, and its credit goes back, when the next one is asked for: a consumer that pauses leaves at
 * most its credit unread, and the server waits. Chunks from before a seek are never handed out after it. After a broken
 * stream it goes on where each stem stopped, in the same run. The iteration ends when all stems were read to their end,
 * and begins again after another `seek`. Leaving a `for await` early cancels the call; the job lives on.
 *
 * Throws MismoError (the job's own error if the job failed), RunReplacedError, StreamCorruptError, ChecksumError.
 */
export class StemPlayer implements AsyncIterableIterator<StemChunk>, AsyncDisposable {
  readonly #lifetime: Lifetime;
  readonly #attempts: Attempts;
  readonly #credit: StemCredit;
  readonly #seeks = new PendingSeeks();
  #turn: Promise<unknown> = Promise.resolve();
  #call: Call | undefined;
  #messages: MessageReader<StreamStemsResponse> | undefined;
  #format: StemFormat | undefined;
  #runId: string;
  #generation: StemGeneration;
  #finished = false;
  /** Chunks that came while a seek was not answered: handed out if it is refused, else dropped. */
  #held: StemChunk[] = [];
  #inHand: StemChunk | undefined;
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

  /** The generation of the chunks that are handed out: the number of the seek that was applied last. */
  get generation(): number {
    return this.#generation.number;
  }

  /** Payload bytes of older generations that came and were dropped. */
  get staleBytes(): number {
    return this.#staleBytes;
  }

  /** Why the stream waits for audio; undefined while it need not. */
  get notReady(): NotReady | undefined {
    return this.#notReady;
  }

  /**
   * SHA-256 of each stem's samples as its file stores them, lower-case hex by stem. Has a stem once the stream reached
   * its end after the job succeeded.
   */
  get stemSha256(): Readonly<Record<string, string>> {
    return { ...this.#stemSha256 };
  }

  /** The first frame of this stem that has not come since the last seek; undefined until the format is known. */
  nextFrame(stemName: string): number | undefined {
    const index = this.#format?.stemNames.indexOf(stemName) ?? -1;
    return index < 0 ? undefined : this.#generation.nextFrame(index, this.#format!);
  }

  /** The stems' format; waits until the track is decoded. Throws as `next` does. */
  format(): Promise<StemFormat> {
    return this.#inTurn(async () => {
      while (this.#format === undefined) {
        if (this.#lifetime.closed) throw closedError();
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
      this.#takeInHand();
      while (!this.#finished && !this.#lifetime.closed) {
        const chunk = this.#held.length > 0 && this.#seeks.isEmpty ? this.#held.shift() : await this.#advance();
        if (chunk !== undefined) {
          this.#inHand = chunk;
          return { done: false, value: chunk };
        }
      }
      return { done: true, value: undefined };
    });
  }

  /**
   * Goes on at a frame, for all stems; what is on its way is dropped. Resolves with where the audio goes on, once the
   * server has answered, which takes somebody who reads; with a later seek's answer if that one replaced this one.
   *
   * Throws RangeError at once. Rejects with SeekRefusedError past the end of the track: the stream then goes on as if
   * nothing had been asked. A rejection that nobody handles does no harm.
   */
  seek(frame: number): Promise<AppliedSeek> {
    return this.#seekTo(atFrame("frame", frame));
  }

  /** The same in seconds, rounded down to a frame. */
  seekToTime(time: number): Promise<AppliedSeek> {
    return this.#seekTo(atTime("time", time));
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

  #seekTo(start: StartField): Promise<AppliedSeek> {
    const { seek, answered } = this.#seeks.add(start);
    if (this.#lifetime.signal.aborted) this.#abort();
    this.#finished = false;
    this.#notReady = undefined;
    // The next read opens another call at once, and sends the seek on it.
    if (this.#messages?.over) this.#dropCall();
    if (this.#call !== undefined) this.#sendSeek(seek);
    return answered;
  }

  /** One at a time, in the order of the calls. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work, work).catch((error: unknown) => {
      this.#seeks.rejectAll(error);
      throw error;
    });
    this.#turn = result;
    return result;
  }

  #takeInHand(): void {
    if (this.#inHand === undefined) return;
    const { stemIndex, startFrame, frameCount, data, generation } = this.#inHand;
    this.#inHand = undefined;
    this.#credit.takeBytes(data.length);
    if (generation !== this.#generation.number) return;
    this.#credit.takeFrames(this.#generation.take(stemIndex, startFrame + frameCount, this.#format!));
  }

  /** Handles one message; undefined if it brought no audio, or if the stream was opened again. */
  async #advance(): Promise<StemChunk | undefined> {
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
      await this.#attempts.after(broken, signal, "stream");
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
    // What was not handed out comes again.
    for (const chunk of this.#held.reverse()) this.#generation.unaccept(chunk);
    this.#held = [];
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
    // Reading a call that has ended tells why.
    if (!this.#messages?.over) this.#call?.write({ message });
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
        // All that came was taken by now. What is left to grant waited for more to come with it.
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
      throw new RunReplacedError(`job ${this.jobId} was run again; begin again with a new stream`);
    }
    this.#format = format;
    this.#runId = format.runId;
  }

  #handleChunk(message: ChunkMessage): StemChunk | undefined {
    const { stemIndex, startFrame, frameCount, data, generation } = message;
    if (generation < this.generation) {
      this.#drop(data.length);
      return undefined;
    }
    if (generation > this.generation) throw new StreamCorruptError(`generation ${generation} began without a seek`);
    const stemName = this.#stemName(stemIndex);
    this.#generation.accept(message, stemName);
    this.#attempts.progressed();
    this.#notReady = undefined;
    const chunk = { stemIndex, stemName, startFrame, frameCount, data, generation };
    if (this.#seeks.isEmpty && this.#held.length === 0) return chunk;
    this.#held.push(chunk);
    return undefined;
  }

  #handleSeekApplied(applied: AppliedSeek): void {
    const { generation, startFrame } = applied;
    if (generation <= this.generation) return;
    this.#generation = new StemGeneration(generation, { $case: "startFrame", value: startFrame });
    this.#credit.restartFrames();
    for (const chunk of this.#held) this.#drop(chunk.data.length);
    this.#held = [];
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

  #drop(bytes: number): void {
    this.#staleBytes += bytes;
    this.#credit.takeBytes(bytes);
  }

  #stemName(index: number): string {
    if (this.#format === undefined) throw new StreamCorruptError("the stream did not begin with its format");
    const name = this.#format.stemNames[index];
    if (name === undefined) throw new StreamCorruptError(`there is no stem ${index} in this stream`);
    return name;
  }

  /** The server has sent everything, and no seek may change that. */
  #isAtEnd(): boolean {
    return this.#generation.ended && this.#seeks.isEmpty && this.#held.length === 0;
  }

  #finish(): undefined {
    if (this.#format === undefined) throw new StreamCorruptError("the stream did not begin with its format");
    this.#generation.checkComplete(this.#format);
    this.#finished = true;
    // The server would wait for seeks, and the open call would keep a finished program alive. A later seek opens
    // another call.
    if (this.#call !== undefined && this.#messages !== undefined) closeGracefully(this.#call, this.#messages);
    this.#call = this.#messages = undefined;
  }
}

function closedError(): MismoError {
  return new MismoError(status.CANCELLED, "the stream was closed");
}
