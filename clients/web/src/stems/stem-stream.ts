/** StreamStems with credit, seeks and checksums, over broken connections and restarts of the server. */

import { Code } from "@connectrpc/connect";

import type { MismoClient } from "../client.js";
import { crc32c } from "../crc32c.js";
import { Encoding } from "../generated/mismo/analysis/v1/audio_pb.js";
import {
  type NotReady,
  NotReadyReason,
  type StemChunk,
  type StreamStemsResponse,
  TransferService,
} from "../generated/mismo/analysis/v1/transfer_service_pb.js";
import { Backoff } from "../rpc/backoff.js";
import { Call } from "../rpc/call.js";
import { errorOf, MismoError, networkError } from "../rpc/errors.js";
import { StemCredit } from "./stem-credit.js";
import { type TrackInfo, trackInfo } from "./track-info.js";

const METHOD = TransferService.method.streamStems;
/** The server says at least every 10 s why it sends nothing. */
const SILENCE_SECONDS = 30;
/** Before the track is decoded, its length and rate are not known; then so many frames may come. */
const FIRST_FRAMES = 1 << 18;

/** Why audio is missing. */
export type WaitReason = "queued" | "decoding" | "separating" | "waiting-for-device";

/** What a stream yields. */
export type StemEvent =
  | { readonly type: "info"; readonly track: TrackInfo }
  /** 16-bit samples, channels interleaved, of one stem. */
  | { readonly type: "chunk"; readonly stem: number; readonly startFrame: number; readonly samples: Int16Array }
  /** The audio goes on at `startFrame`. */
  | { readonly type: "seeked"; readonly startFrame: number }
  | { readonly type: "seekrefused"; readonly message: string }
  | { readonly type: "notready"; readonly reason: WaitReason; readonly expectedSeconds: number | undefined }
  /** All stems were sent to their end; the stream waits for a seek. */
  | { readonly type: "end" }
  | { readonly type: "connection"; readonly state: "open" | "lost"; readonly error?: MismoError };

/** Options of a StemStream. */
export interface StemStreamOptions {
  jobId: string;
  /** The run; by default the newest at the start. */
  runId?: string;
  /** By default all. */
  stemNames?: string[];
  /** Where to begin (0). */
  startFrame?: number;
  /** Tells the scheduler where this player is, so that it separates what is needed next (true). */
  follow?: boolean;
}

/** The last seek, until the server has answered; if it refuses, the audio goes on where it was before. */
interface PendingSeek {
  readonly generation: number;
  readonly startBefore: number;
  readonly nextBefore: readonly number[];
}

/**
 * An async iterator of events. One consumer reads, and never stops reading; `allowUntil` bounds what comes.
 *
 * Throws MismoError for what does not pass by waiting: RUN_REPLACED, JOB_NOT_FOUND, the job's own error.
 */
export class StemStream implements AsyncIterable<StemEvent> {
  readonly #client: MismoClient;
  readonly #options: StemStreamOptions;
  readonly #ending = new AbortController();
  readonly #credit = new StemCredit();
  readonly #backoff = new Backoff();
  #call: Call<typeof METHOD.input, typeof METHOD.output> | undefined;
  #track: TrackInfo | undefined;
  #runId: string;
  /** Of the audio that is wanted: the number of the last seek. */
  #generation = 0;
  #start: number;
  /** The next frame of each stem. */
  #next: number[] = [];
  #until: number;
  #seek: PendingSeek | undefined;

  constructor(client: MismoClient, options: StemStreamOptions) {
    this.#client = client;
    this.#options = options;
    this.#runId = options.runId ?? "";
    this.#start = options.startFrame ?? 0;
    this.#until = this.#start + FIRST_FRAMES;
  }

  /** The first frame that some stem still lacks: where the audio to come begins. */
  get nextFrame(): number {
    return this.#next.length > 0 ? Math.min(...this.#next) : this.#start;
  }

  /** Lets the server send the frames before `frame`; a smaller number than before changes nothing. */
  allowUntil(frame: number): void {
    this.#until = Math.max(this.nextFrame, frame);
    this.#grant();
  }

  /** Drops what was sent and goes on at a frame of the track, up to `untilFrame`. */
  seek(startFrame: number, untilFrame: number): void {
    const startBefore = this.#seek?.startBefore ?? this.#start;
    const nextBefore = this.#seek?.nextBefore ?? this.#next;
    this.#generation += 1;
    this.#seek = { generation: this.#generation, startBefore, nextBefore };
    this.#start = startFrame;
    this.#next = this.#track === undefined ? [] : this.#track.stemNames.map(() => startFrame);
    this.#until = untilFrame;
    const credit = this.#credit.seek(startFrame, untilFrame);
    const start = { case: "startFrame" as const, value: BigInt(startFrame) };
    this.#call?.send({ message: { case: "seek", value: { generation: this.#generation, start, credit } } });
  }

  /** Ends the stream and its iteration. */
  close(): void {
    this.#ending.abort();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StemEvent, void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        yield* this.#events();
      } catch (cause) {
        if (signal.aborted) return;
        const error = errorOf(cause);
        if (!error.retryable) throw error;
        yield { type: "connection", state: "lost", error };
        await this.#backoff.wait(error, signal).catch(() => undefined);
      }
    }
  }

  /** The events of one call. */
  async *#events(): AsyncGenerator<StemEvent, void> {
    const call = new Call(this.#client.baseUrl, METHOD, this.#ending.signal);
    this.#call = call;
    let alive: ReturnType<typeof setInterval> | undefined;
    try {
      call.send({ message: { case: "open", value: this.#openMessage() } });
      for (;;) {
        // A stream that has sent everything is silent until the next seek.
        const isAtEnd = this.#track !== undefined && this.#seek === undefined && this.nextFrame >= this.#track.totalFrames;
        const message = await call.next(isAtEnd ? undefined : SILENCE_SECONDS);
        if (message === undefined) throw networkError("the stream ended before its stems did");
        if (message.message.case === "info") {
          const idle = Number(message.message.value.idleTimeout?.seconds ?? 60n) || 1;
          // A paused player grants nothing; this shows that it is alive.
          alive = setInterval(() => this.#sendCredit({ bytes: 0n, frames: 0n }), (idle * 1000) / 3);
          if (this.#track !== undefined) yield { type: "connection", state: "open" };
        }
        const event = this.#receive(message);
        this.#grant();
        if (event !== undefined) yield event;
        // Audio of before the seek was dropped meanwhile: the next call sends it again.
        if (event?.type === "seekrefused") return;
      }
    } finally {
      clearInterval(alive);
      this.#call = undefined;
      call.close();
    }
  }

  #openMessage() {
    const { jobId, stemNames = [], follow = true } = this.#options;
    const resumePoints = this.#next.map((frame, stem) => ({
      stemName: this.#track!.stemNames[stem]!,
      startFrame: BigInt(frame),
    }));
    return {
      jobId,
      expectedRunId: this.#runId,
      stemNames,
      encoding: Encoding.PCM_S16LE,
      start: { case: "startFrame" as const, value: BigInt(this.#start) },
      credit: this.#credit.open(this.nextFrame, this.#until),
      follow,
      resumePoints,
      generation: this.#generation,
    };
  }

  #receive({ message }: StreamStemsResponse): StemEvent | undefined {
    switch (message.case) {
      case "info": {
        const isFirst = this.#track === undefined;
        this.#track ??= trackInfo(message.value);
        this.#runId = message.value.runId;
        if (this.#next.length === 0) this.#next = message.value.stemNames.map(() => this.#start);
        if (isFirst) return { type: "info", track: this.#track };
        return this.#seekApplied(this.#generation, this.#start);
      }
      case "chunk":
        return this.#chunk(message.value);
      case "seekApplied":
        return this.#seekApplied(message.value.generation, Number(message.value.startFrame));
      case "seekRefused":
        return this.#seekRefused(message.value.generation, message.value.message);
      case "notReady":
        return message.value.generation === this.#generation ? notReady(message.value) : undefined;
      case "end":
        return message.value.generation === this.#generation ? { type: "end" } : undefined;
      default:
        return undefined;
    }
  }

  #chunk(chunk: StemChunk): StemEvent | undefined {
    this.#credit.received(chunk.data.length);
    if (chunk.generation !== this.#generation) return undefined;
    const startFrame = Number(chunk.startFrame);
    const isIntact = crc32c(chunk.data) === chunk.crc32c;
    if (!isIntact || startFrame !== this.#next[chunk.stemIndex]) {
      // Opened again from the last good frame.
      const what = isIntact ? "a chunk is missing" : "a checksum is wrong";
      throw new MismoError(Code.DataLoss, `${what} at frame ${startFrame}`, { reason: "STREAM_CORRUPT", retryable: true });
    }
    this.#backoff.succeeded();
    this.#next[chunk.stemIndex] = startFrame + chunk.frameCount;
    return { type: "chunk", stem: chunk.stemIndex, startFrame, samples: samplesOf(chunk.data) };
  }

  #seekApplied(generation: number, startFrame: number): StemEvent | undefined {
    if (this.#seek === undefined || generation !== this.#seek.generation) return undefined;
    this.#seek = undefined;
    return { type: "seeked", startFrame };
  }

  #seekRefused(generation: number, message: string): StemEvent | undefined {
    if (this.#seek === undefined || generation !== this.#seek.generation) return undefined;
    this.#start = this.#seek.startBefore;
    this.#next = [...this.#seek.nextBefore];
    this.#seek = undefined;
    return { type: "seekrefused", message };
  }

  #grant(): void {
    if (this.#call === undefined || this.#track === undefined) return;
    const until = Math.min(this.#until, this.#track.totalFrames);
    const credit = this.#credit.due(until);
    if (credit !== undefined) this.#sendCredit(credit);
  }

  #sendCredit(credit: { bytes: bigint; frames: bigint }): void {
    this.#call?.send({ message: { case: "credit", value: credit } });
  }
}

const REASONS: Readonly<Record<number, WaitReason>> = {
  [NotReadyReason.QUEUED]: "queued",
  [NotReadyReason.DECODING]: "decoding",
  [NotReadyReason.SEPARATING]: "separating",
  [NotReadyReason.WAITING_FOR_DEVICE]: "waiting-for-device",
};

function notReady({ reason, expectedIn }: NotReady): StemEvent {
  const expectedSeconds = expectedIn && Number(expectedIn.seconds) + expectedIn.nanos / 1e9;
  return { type: "notready", reason: REASONS[reason] ?? "separating", expectedSeconds };
}

/** Browsers run on little-endian machines alone, as the stream is. */
function samplesOf(data: Uint8Array): Int16Array {
  return new Int16Array(data.slice().buffer);
}
