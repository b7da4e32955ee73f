/** The client: one method for each operation of the server. */

import type { Writable } from "node:stream";

import { status } from "@grpc/grpc-js";

import { type Artifact, type Job, JobState } from "./generated/mismo/analysis/v1/job.js";
import {
  CancelJobRequest,
  CompareTracksRequest,
  type CompareTracksResponse,
  DeleteJobRequest,
  GetJobRequest,
  ListJobsRequest,
  type ListJobsResponse,
  ReplayJobRequest,
  type SubmitJobRequest,
  type SubmitJobResponse,
} from "./generated/mismo/analysis/v1/job_service.js";
import type { TrackComparison } from "./generated/mismo/analysis/v1/results.js";
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
import {
  CreateBlobLinkRequest,
  type CreateBlobLinkResponse,
  GetUploadRequest,
  type GetUploadResponse,
} from "./generated/mismo/analysis/v1/transfer_service.js";
import {
  type GenerateOptions,
  generateRequest,
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
import { JobFailedError, MismoError, RunReplacedError } from "./rpc/errors.js";
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
import { type StemRead, writeStem } from "./transfer/write-stem.js";
import { type JobEvent, watchJob, type WatchOptions } from "./watch-job.js";
import { type JobsEvent, watchJobs, type WatchJobsOptions } from "./watch-jobs.js";

/** How to upload. */
export interface UploadOptions {
  /** Name shown to people; the last component of the path if unset. */
  filename?: string;
  /** Called with the committed and the total bytes. */
  onProgress?: OnBytes;
  /** Stops the upload. The server keeps the committed bytes for a while. */
  signal?: AbortSignal;
}

/** The result of `getArtifact`. */
export interface ArtifactRead {
  readonly artifact: Artifact;
  readonly runId: string;
  /** Bytes written. */
  readonly bytes: number;
}

/** Options of a call that changes a job. */
export interface ChangeOptions extends UnaryOptions {
  /** Throws RunReplacedError unless the job has this run. Unset: any run. */
  expectedRunId?: string | undefined;
}

/** Makes a client of the server at `address` (host:port). It connects at its first call. */
export function connect(address: string, options: ConnectOptions = {}): MismoClient {
  return new MismoClient(new Connection(address, new Settings(options)));
}

/**
 * Client of one server. It repeats calls while the server is unavailable or busy and reopens broken streams, within the
 * limits of the ConnectOptions. A reopened stream continues in the run that it began with, or throws RunReplacedError.
 * Frames are audio frames (one sample for each channel); times are in seconds.
 *
 * All methods throw MismoError, or the signal's reason once their signal aborts.
 */
export class MismoClient implements Disposable {
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Cancels all calls, which then throw MismoError (CANCELLED). Jobs continue. */
  close(): void {
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Submits a track: a path that the server can read, the URI of a blob, or the result of `upload`. The submit takes
   * effect once, even if the client has to repeat it. Also throws RangeError.
   */
  submit(source: JobSource, options: SubmitOptions & UnaryOptions = {}): Promise<Submitted> {
    return this.#submit(() => submitRequest(source, options), options);
  }

  /**
   * Generates stems, such as ["bass", "drums"]; they are streamed and read like separated ones. It takes effect once,
   * even if the client has to repeat it. Also throws RangeError.
   */
  generate(targetStems: readonly string[], options: GenerateOptions & UnaryOptions = {}): Promise<Submitted> {
    return this.#submit(() => generateRequest(targetStems, options), options);
  }

  async #submit(build: () => SubmitJobRequest, options: UnaryOptions): Promise<Submitted> {
    const request = build();
    const answer = await this.#connection.unary<SubmitJobResponse>(
      (stubs, ...rest) => stubs.jobs.submitJob(request, ...rest),
      options,
    );
    return { job: jobOf(answer), deduplicated: answer.deduplicated, cacheHit: answer.cacheHit };
  }

  /** Returns a job. */
  async getJob(jobId: string, options?: UnaryOptions): Promise<Job> {
    const request = GetJobRequest.fromPartial({ jobId });
    return jobOf(await this.#connection.unary((stubs, ...rest) => stubs.jobs.getJob(request, ...rest), options));
  }

  /** Yields the jobs in any of these states with all of these labels, newest first. Fetches page after page. */
  async *listJobs(options: ListOptions = {}): AsyncGenerator<Job, void> {
    const { states = [], labels = {}, deadLetters = false, signal } = options;
    const pageSize = wholeNumber("pageSize", options.pageSize ?? 0);
    for (let pageToken = ""; ; ) {
      const request = ListJobsRequest.fromPartial({
        ...{ pageSize, pageToken, deadLetters },
        states: [...states],
        labels: { ...labels },
      });
      const page = await this.#connection.unary<ListJobsResponse>(
        (stubs, ...rest) => stubs.jobs.listJobs(request, ...rest),
        { signal },
      );
      yield* page.jobs;
      pageToken = page.nextPageToken;
      if (pageToken === "") return;
    }
  }

  /** Cancels a job; has no effect if it has ended. */
  async cancel(jobId: string, options: ChangeOptions = {}): Promise<Job> {
    const request = CancelJobRequest.fromPartial({ jobId, expectedRunId: options.expectedRunId ?? "" });
    return jobOf(await this.#connection.unary((stubs, ...rest) => stubs.jobs.cancelJob(request, ...rest), options));
  }

  /** Changes the priority or the playhead of a job that has not ended. Also throws RangeError. */
  async update(jobId: string, change: JobUpdate, options: ChangeOptions = {}): Promise<Job> {
    const request = updateRequest(jobId, change, options.expectedRunId);
    return jobOf(await this.#connection.unary((stubs, ...rest) => stubs.jobs.updateJob(request, ...rest), options));
  }

  /** Cancels a job and removes its files. `allowMissing`: succeed if there is no such job (false). */
  async delete(jobId: string, options: ChangeOptions & { allowMissing?: boolean } = {}): Promise<void> {
    const { expectedRunId = "", allowMissing = false } = options;
    let isRepeated = false;
    await this.#connection.unary((stubs, ...rest) => {
      // An attempt whose answer was lost may have deleted the job.
      const request = DeleteJobRequest.fromPartial({ jobId, expectedRunId, allowMissing: allowMissing || isRepeated });
      isRepeated = true;
      return stubs.jobs.deleteJob(request, ...rest);
    }, options);
  }

  /**
   * Tries a failed job once more as a new run and returns it. Stages that have a result keep it. The new run is made
   * once, even if the client has to repeat the call.
   */
  async replayJob(jobId: string, options: ChangeOptions = {}): Promise<Job> {
    const expectedRunId = options.expectedRunId ?? (await this.getJob(jobId, options)).runId;
    const request = ReplayJobRequest.fromPartial({ jobId, expectedRunId });
    let attempts = 0;
    try {
      return jobOf(
        await this.#connection.unary((stubs, ...rest) => {
          attempts += 1;
          return stubs.jobs.replayJob(request, ...rest);
        }, options),
      );
    } catch (error) {
      // An attempt whose answer was lost has made the new run.
      if (attempts > 1 && error instanceof RunReplacedError) return this.getJob(jobId, options);
      throw error;
    }
  }

  /**
   * Tells how well the track of the incoming job follows that of the outgoing one in a mix. Both jobs need the result
   * of Stage.TRANSITION. `maxCuePairs`: the most pairs of cue points (5). Also throws RangeError.
   */
  async compareTracks(
    outgoingJobId: string,
    incomingJobId: string,
    options: UnaryOptions & { maxCuePairs?: number } = {},
  ): Promise<TrackComparison> {
    const maxCuePairs = wholeNumber("maxCuePairs", options.maxCuePairs ?? 0);
    const request = CompareTracksRequest.fromPartial({ outgoingJobId, incomingJobId, maxCuePairs });
    const { comparison } = await this.#connection.unary<CompareTracksResponse>(
      (stubs, ...rest) => stubs.jobs.compareTracks(request, ...rest),
      options,
    );
    if (comparison === undefined) throw new MismoError(status.INTERNAL, "the server's answer has no comparison");
    return comparison;
  }

  /**
   * Yields a job's events until it ends, each once, across broken streams and server restarts. The first event is a
   * snapshot; another follows if a restarted server cannot replay the events. Leaving the iteration cancels the call.
   * Use `watchJobs` for many jobs.
   */
  watch(jobId: string, options: WatchOptions = {}): ClosableIterator<JobEvent> {
    return new ClosableIterator((signal) => watchJob(this.#connection, jobId, options, signal), options.signal);
  }

  /**
   * Yields the changes of all matching jobs until the consumer leaves the iteration. After a broken stream or a server
   * restart it continues from the cursor of the last event that was handled. An event counts as handled when the
   * consumer requests the next one. A later process can continue from a cursor that this one stored.
   */
  watchJobs(options: WatchJobsOptions = {}): ClosableIterator<JobsEvent> {
    return new ClosableIterator((signal) => watchJobs(this.#connection, options, signal), options.signal);
  }

  /** Waits until the job succeeds and returns it. Throws JobFailedError if it fails or is cancelled. */
  async wait(jobId: string, options: Pick<WatchOptions, "expectedRunId" | "signal"> = {}): Promise<Job> {
    for await (const event of this.watch(jobId, options)) {
      if (event.type !== "terminal") continue;
      if (event.job.state !== JobState.SUCCEEDED) throw new JobFailedError(event.job);
      return event.job;
    }
    return this.getJob(jobId, options);
  }

  /** Streams all or some stems, interleaved by time; see StemPlayer. Throws RangeError at once. */
  streamStems(jobId: string, options: StemStreamOptions = {}): StemPlayer {
    return new StemPlayer(this.#connection, jobId, options);
  }

  /**
   * Writes one stem to a Writable, with back-pressure; resolves when all is written. PCM is written without a header
   * (see `wavHeader`). FLAC is written after its stream header, so the output is a complete FLAC stream.
   *
   * Also throws StreamCorruptError, RunReplacedError, RangeError and the errors of `target`.
   */
  readStem(
    jobId: string,
    stemName: string,
    target: Writable,
    options: ReadStemOptions & WriteOptions = {},
  ): Promise<StemRead> {
    return writeStem(this.#connection, jobId, stemName, target, options);
  }

  /** Yields the chunks of one stem. Throws RangeError at once. */
  stemChunks(
    jobId: string,
    stemName: string,
    options: ReadStemOptions & { signal?: AbortSignal } = {},
  ): ClosableIterator<ReadChunk> {
    const reader = new StemReader(this.#connection, jobId, stemName, options);
    return new ClosableIterator((signal) => reader.chunks(signal), options.signal);
  }

  /** Yields the peaks of the stems for drawing, each pixel once. Throws RangeError at the first read. */
  readWaveform(jobId: string, options: ReadWaveformOptions = {}): ClosableIterator<WaveformPixels> {
    return new ClosableIterator((signal) => readWaveform(this.#connection, jobId, options, signal), options.signal);
  }

  /**
   * Uploads a track for `submit`: the path of a file, its bytes, or a stream of bytes. Sends nothing if the server
   * already has the content. A broken upload resumes from the bytes that the server has committed.
   *
   * Also throws SourceChangedError and the errors of the file system or of the stream.
   */
  async upload(source: UploadSource, options: UploadOptions = {}): Promise<UploadedTrack> {
    const content = await openSource(source, options.filename, options.signal);
    try {
      return await new Upload(this.#connection, content, options.signal, options.onProgress).run();
    } finally {
      await content.close();
    }
  }

  /** Returns the state of an upload. */
  getUpload(uploadId: string, options?: UnaryOptions): Promise<GetUploadResponse> {
    const request = GetUploadRequest.fromPartial({ uploadId });
    return this.#connection.unary((stubs, ...rest) => stubs.transfers.getUpload(request, ...rest), options);
  }

  /**
   * Writes one of a job's `artifacts` to a Writable; resolves when all is written and its SHA-256 matches.
   *
   * Also throws StreamCorruptError, ChecksumError, RunReplacedError and the errors of `target`.
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

  /**
   * Makes a link with which anyone can fetch one of a job's `blobs`, such as "stems/vocals.wav", by HTTP GET. `ttl`: the
   * seconds until it expires, 1 to 604800 (3600). Also throws RangeError.
   */
  async createBlobLink(
    jobId: string,
    name: string,
    options: ChangeOptions & { ttl?: number } = {},
  ): Promise<CreateBlobLinkResponse> {
    const { expectedRunId = "", ttl } = options;
    const request = CreateBlobLinkRequest.fromPartial({ jobId, name, expectedRunId, ttl: duration(ttl) });
    return this.#connection.unary((stubs, ...rest) => stubs.transfers.createBlobLink(request, ...rest), options);
  }

  /** Returns the version, the features, the limits and the load of the server. */
  serverInfo(options?: UnaryOptions): Promise<GetServerInfoResponse> {
    const request = GetServerInfoRequest.fromPartial({});
    return this.#connection.unary((stubs, ...rest) => stubs.system.getServerInfo(request, ...rest), options);
  }

  /** Returns all models that the server knows, including those that it cannot run. */
  async listModels(options?: UnaryOptions): Promise<Model[]> {
    const request = ListModelsRequest.fromPartial({});
    const answer = await this.#connection.unary<{ models: Model[] }>(
      (stubs, ...rest) => stubs.system.listModels(request, ...rest),
      options,
    );
    return answer.models;
  }

  /** Returns all stages of the API. A stage that is not `available` has the reason. */
  async listStages(options?: UnaryOptions): Promise<StageInfo[]> {
    const request = ListStagesRequest.fromPartial({});
    const answer = await this.#connection.unary<{ stages: StageInfo[] }>(
      (stubs, ...rest) => stubs.system.listStages(request, ...rest),
      options,
    );
    return answer.stages;
  }

  /** Yields the load of processor, memory, disk and queue every `interval` seconds (1) until the consumer leaves. */
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
