/** The client. */

import type { Writable } from "node:stream";

import { type Artifact, type Job, JobState } from "./generated/mismo/analysis/v1/job.js";
import {
  CancelJobRequest,
  DeleteJobRequest,
  GetJobRequest,
  ListJobsRequest,
  type ListJobsResponse,
} from "./generated/mismo/analysis/v1/job_service.js";
import {
  GetServerInfoRequest,
  type GetServerInfoResponse,
  ListModelsRequest,
  ListStagesRequest,
  type Model,
  type StageInfo,
  WatchResourcesRequest,
  type WatchResourcesResponse,
} from "./generated/mismo/analysis/v1/system_service.js";
import { GetUploadRequest, type GetUploadResponse } from "./generated/mismo/analysis/v1/transfer_service.js";
import {
  jobOf,
  type JobSource,
  type JobUpdate,
  type ListOptions,
  type SubmitOptions,
  submitRequest,
  type Submitted,
  updateRequest,
} from "./jobs.js";
import { Connection, type UnaryOptions } from "./rpc/connection.js";
import { duration } from "./rpc/durations.js";
import { JobFailedError } from "./rpc/errors.js";
import { ClosableIterator } from "./rpc/lifetime.js";
import { type ConnectOptions, Settings } from "./rpc/options.js";
import { reconnectingStream } from "./rpc/reconnecting-stream.js";
import { wholeNumber } from "./rpc/whole-number.js";
import { type ArtifactOptions, ArtifactReader, type OnBytes } from "./transfer/artifact-reader.js";
import type { StemFormat } from "./transfer/stem-format.js";
import { StemPlayer } from "./transfer/stem-player.js";
import { type ReadChunk, type ReadStemOptions, StemReader } from "./transfer/stem-reader.js";
import type { StemStreamOptions } from "./transfer/stem-stream.js";
import { openSource, type UploadSource } from "./transfer/upload-source.js";
import { Upload, type UploadedTrack } from "./transfer/upload.js";
import { readWaveform, type ReadWaveformOptions, type WaveformPixels } from "./transfer/waveform-reader.js";
import { writeAll, type WriteOptions } from "./transfer/write-all.js";
import { type JobEvent, watchJob, type WatchOptions } from "./watch-job.js";
import { type JobsEvent, watchJobs, type WatchJobsOptions } from "./watch-jobs.js";

/** How to upload. */
export interface UploadOptions {
  /** For a person; a path's last part if unset. */
  filename?: string;
  /** Called with committed and total bytes. */
  onProgress?: OnBytes;
  /** Stops; the server keeps what it has for a while. */
  signal?: AbortSignal;
}

/** What `readStem` wrote. */
export interface StemRead {
  readonly format: StemFormat;
  /** The first frame written. */
  readonly startFrame: number;
  readonly frameCount: number;
  /** Bytes written. */
  readonly bytes: number;
}

/** What `getArtifact` wrote. */
export interface ArtifactRead {
  readonly artifact: Artifact;
  readonly runId: string;
  /** Bytes written. */
  readonly bytes: number;
}

/** For a call that changes a job. */
export interface ChangeOptions extends UnaryOptions {
  /** Only if the job still has this run; otherwise RunReplacedError. Unset: whichever it has. */
  expectedRunId?: string | undefined;
}

/** A client of the server at `address` (host:port); connects when it is first used. */
export function connect(address: string, options: ConnectOptions = {}): MismoClient {
  return new MismoClient(new Connection(address, new Settings(options)));
}

/**
 * Calls are repeated while the server is away or busy, and streams go on after a break, within the bounds of the
 * ConnectOptions. A stream that goes on does so in the run that it began with, or throws RunReplacedError. Frames are
 * frames of audio (one sample for every channel), times are seconds.
 *
 * Everything throws MismoError; with a signal that aborts, the signal's reason.
 */
export class MismoClient implements Disposable {
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Ends all calls, which then throw MismoError (CANCELLED); jobs live on. */
  close(): void {
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Submits a track: a path that the server can read, or what `upload` returned. It takes effect once, however
   * often it had to be sent. Throws RangeError too.
   */
  async submit(source: JobSource, options: SubmitOptions & UnaryOptions = {}): Promise<Submitted> {
    const request = submitRequest(source, options);
    const answer = await this.#connection.unary<{ job: Job | undefined; deduplicated: boolean; cacheHit: boolean }>(
      (stubs, ...rest) => stubs.jobs.submitJob(request, ...rest),
      options,
    );
    return { job: jobOf(answer), deduplicated: answer.deduplicated, cacheHit: answer.cacheHit };
  }

  /** One job. */
  async getJob(jobId: string, options?: UnaryOptions): Promise<Job> {
    const request = GetJobRequest.fromPartial({ jobId });
    return jobOf(await this.#connection.unary((stubs, ...rest) => stubs.jobs.getJob(request, ...rest), options));
  }

  /** Jobs in any of these states with all of these labels, newest first, over all pages. */
  async *listJobs(options: ListOptions = {}): AsyncGenerator<Job, void> {
    const { states = [], labels = {}, signal } = options;
    const pageSize = wholeNumber("pageSize", options.pageSize ?? 0);
    for (let pageToken = ""; ; ) {
      const request = ListJobsRequest.fromPartial({ pageSize, pageToken, states: [...states], labels: { ...labels } });
      const page = await this.#connection.unary<ListJobsResponse>(
        (stubs, ...rest) => stubs.jobs.listJobs(request, ...rest),
        { signal },
      );
      yield* page.jobs;
      pageToken = page.nextPageToken;
      if (pageToken === "") return;
    }
  }

  /** Ends a job; changes nothing if it has ended. */
  async cancel(jobId: string, options: ChangeOptions = {}): Promise<Job> {
    const request = CancelJobRequest.fromPartial({ jobId, expectedRunId: options.expectedRunId ?? "" });
    return jobOf(await this.#connection.unary((stubs, ...rest) => stubs.jobs.cancelJob(request, ...rest), options));
  }

  /** Changes the priority or the playhead of a job that has not ended. Throws RangeError too. */
  async update(jobId: string, change: JobUpdate, options: ChangeOptions = {}): Promise<Job> {
    const request = updateRequest(jobId, change, options.expectedRunId);
    return jobOf(await this.#connection.unary((stubs, ...rest) => stubs.jobs.updateJob(request, ...rest), options));
  }

  /** Ends a job and removes its files. `allowMissing`: no error if there is no such job (false). */
  async delete(jobId: string, options: ChangeOptions & { allowMissing?: boolean } = {}): Promise<void> {
    const { expectedRunId = "", allowMissing = false } = options;
    let isRepeated = false;
    await this.#connection.unary((stubs, ...rest) => {
      // An attempt whose answer was lost may have deleted it.
      const request = DeleteJobRequest.fromPartial({ jobId, expectedRunId, allowMissing: allowMissing || isRepeated });
      isRepeated = true;
      return stubs.jobs.deleteJob(request, ...rest);
    }, options);
  }

  /**
   * A job's events until it ends, none of them twice, over broken streams and server restarts. A snapshot comes
   * first, and again where a restarted server cannot replay. Leaving the iteration cancels the call. For many jobs
   * there is `watchJobs`.
   */
  watch(jobId: string, options: WatchOptions = {}): ClosableIterator<JobEvent> {
    return new ClosableIterator((signal) => watchJob(this.#connection, jobId, options, signal), options.signal);
  }

  /**
   * The changes of all jobs that match, in one stream, until the consumer leaves; over broken streams and server
   * restarts, each time from the cursor of the last event that was handled. An event is handled when the next one is
   * asked for. A cursor that is stored with what was handled serves the next program too.
   */
  watchJobs(options: WatchJobsOptions = {}): ClosableIterator<JobsEvent> {
    return new ClosableIterator((signal) => watchJobs(this.#connection, options, signal), options.signal);
  }

  /** The job once it succeeded. Throws JobFailedError if it failed or was cancelled. */
  async wait(jobId: string, options: Pick<WatchOptions, "expectedRunId" | "signal"> = {}): Promise<Job> {
    for await (const event of this.watch(jobId, options)) {
      if (event.type !== "terminal") continue;
      if (event.job.state !== JobState.SUCCEEDED) throw new JobFailedError(event.job);
      return event.job;
    }
    return this.getJob(jobId, options);
  }

  /** All or some stems, interleaved by time; see StemPlayer. Throws RangeError. */
  streamStems(jobId: string, options: StemStreamOptions = {}): StemPlayer {
    return new StemPlayer(this.#connection, jobId, options);
  }

  /**
   * One stem into a Writable, no faster than it takes it; resolves when all is written. PCM comes without a
   * header (see `wavHeader`), FLAC with the stream header first, so that it is a FLAC stream of its own.
   *
   * Throws StreamCorruptError, RunReplacedError, RangeError and the errors of `target` too.
   */
  async readStem(
    jobId: string,
    stemName: string,
    target: Writable,
    options: ReadStemOptions & WriteOptions = {},
  ): Promise<StemRead> {
    const reader = new StemReader(this.#connection, jobId, stemName, options);
    let startFrame: number | undefined;
    let frameCount = 0;
    let bytes = 0;
    const content = async function* (signal: AbortSignal): AsyncGenerator<Buffer, void> {
      for await (const chunk of reader.chunks(signal)) {
        const { codecHeader } = chunk.format;
        if (startFrame === undefined && codecHeader.length > 0) {
          yield codecHeader;
          bytes += codecHeader.length;
        }
        startFrame ??= chunk.startFrame;
        yield chunk.data;
        frameCount += chunk.frameCount;
        bytes += chunk.data.length;
      }
    };
    await writeAll(content, target, options);
    return { format: reader.format!, startFrame: startFrame ?? reader.startFrame!, frameCount, bytes };
  }

  /** The same as an async iterator of chunks. Throws RangeError at once. */
  stemChunks(
    jobId: string,
    stemName: string,
    options: ReadStemOptions & { signal?: AbortSignal } = {},
  ): ClosableIterator<ReadChunk> {
    const reader = new StemReader(this.#connection, jobId, stemName, options);
    return new ClosableIterator((signal) => reader.chunks(signal), options.signal);
  }

  /** Peaks of the stems for drawing, every pixel once, also while they grow. Throws RangeError when it is read. */
  readWaveform(jobId: string, options: ReadWaveformOptions = {}): ClosableIterator<WaveformPixels> {
    return new ClosableIterator((signal) => readWaveform(this.#connection, jobId, options, signal), options.signal);
  }

  /**
   * Sends a track for `submit`: a file's path, its bytes, or a stream of them. Content that the server has is not sent
   * again; a broken upload resumes from what the server has committed.
   *
   * Throws SourceChangedError, and the errors of the file system or of the stream too.
   */
  async upload(source: UploadSource, options: UploadOptions = {}): Promise<UploadedTrack> {
    const content = await openSource(source, options.filename, options.signal);
    try {
      return await new Upload(this.#connection, content, options.signal, options.onProgress).run();
    } finally {
      await content.close();
    }
  }

  /** How far an upload got. */
  getUpload(uploadId: string, options?: UnaryOptions): Promise<GetUploadResponse> {
    const request = GetUploadRequest.fromPartial({ uploadId });
    return this.#connection.unary((stubs, ...rest) => stubs.transfers.getUpload(request, ...rest), options);
  }

  /**
   * A file of a job, one of its `artifacts`, into a Writable; resolves when all is written and fits its SHA-256.
   *
   * Throws StreamCorruptError, ChecksumError, RunReplacedError and the errors of `target` too.
   */
  async getArtifact(
    jobId: string,
    name: string,
    target: Writable,
    options: ArtifactOptions & WriteOptions = {},
  ): Promise<ArtifactRead> {
    const reader = new ArtifactReader(this.#connection, jobId, name, options);
    await writeAll((signal) => reader.chunks(signal), target, options);
    return { artifact: reader.artifact!, runId: reader.runId, bytes: reader.offset };
  }

  /** What the server is, what it offers and how busy it is. */
  serverInfo(options?: UnaryOptions): Promise<GetServerInfoResponse> {
    const request = GetServerInfoRequest.fromPartial({});
    return this.#connection.unary((stubs, ...rest) => stubs.system.getServerInfo(request, ...rest), options);
  }

  /** Every model the server knows, usable or not. */
  async listModels(options?: UnaryOptions): Promise<Model[]> {
    const request = ListModelsRequest.fromPartial({});
    const answer = await this.#connection.unary<{ models: Model[] }>(
      (stubs, ...rest) => stubs.system.listModels(request, ...rest),
      options,
    );
    return answer.models;
  }

  /** Every stage of the contract; `available` ones may be asked for, others say why not. */
  async listStages(options?: UnaryOptions): Promise<StageInfo[]> {
    const request = ListStagesRequest.fromPartial({});
    const answer = await this.#connection.unary<{ stages: StageInfo[] }>(
      (stubs, ...rest) => stubs.system.listStages(request, ...rest),
      options,
    );
    return answer.stages;
  }

  /** Samples of processor, memory, disk and queue every `interval` seconds (1) until the consumer leaves. */
  watchResources(options: { interval?: number; signal?: AbortSignal } = {}): ClosableIterator<WatchResourcesResponse> {
    const connection = this.#connection;
    const request = WatchResourcesRequest.fromPartial({ interval: duration(options.interval) });
    const attempts = connection.settings.streamAttempts();
    const samples = async function* (signal: AbortSignal): AsyncGenerator<WatchResourcesResponse, void> {
      const begin = (stubs: ReturnType<Connection["stubs"]>) => stubs.system.watchResources(request);
      for await (const sample of reconnectingStream({ connection, attempts, signal, begin })) {
        attempts.progressed();
        yield sample;
      }
    };
    return new ClosableIterator(samples, options.signal);
  }
}
