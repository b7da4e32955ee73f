/** One try at a job, in the mode that this server runs in: from the track to the paths of its stems. */

import { setTimeout as sleep } from "node:timers/promises";

import { stemPaths } from "./analysisCallback.service.js";
import { signalBelow } from "./deadline.js";
import { trackHash } from "./library.service.js";
import { AnalysisError } from "./pythonClient.service.js";

export class Analysis {
  #config;
  #python;
  #grpc;
  #updates;
  #callbacks;
  #stemFiles;
  #callbackUrl;
  #log;

  /**
   * @param {object} parts
   * @param {import("./config.js").Config} parts.config
   * @param {import("./pythonClient.service.js").PythonClient} parts.python
   * @param {import("./grpcClient.service.js").GrpcClient | undefined} parts.grpc in mode grpc
   * @param {import("./jobUpdates.service.js").JobUpdates | undefined} parts.updates in mode grpc
   * @param {import("./analysisCallback.service.js").AnalysisCallbacks} parts.callbacks
   * @param {import("./stemFiles.service.js").StemFiles} parts.stemFiles
   * @param {() => string} parts.callbackUrl known once this server listens
   */
  constructor({ config, python, grpc, updates, callbacks, stemFiles, callbackUrl, log }) {
    this.#config = config;
    this.#python = python;
    this.#grpc = grpc;
    this.#updates = updates;
    this.#callbacks = callbacks;
    this.#stemFiles = stemFiles;
    this.#callbackUrl = callbackUrl;
    this.#log = log;
  }

  /**
   * The stems' paths by name. A try that is given up leaves its job on the server: the next one takes it up again.
   *
   * @param {import("./analysisQueue.service.js").Job} job
   * @param {AbortSignal} signal
   * @returns {Promise<Record<string, string>>}
   */
  async separate(job, signal) {
    const { mode } = this.#config;
    job.trackHash = await trackHash(job.track, signal);
    const { id: trackId, path: filePath } = job.track;
    const track = { filePath, trackId, trackHash: job.trackHash, priority: job.priority };
    this.#log.info(`Analysing ${job.track.title} (${mode}, try ${job.attempts})`);
    const onProgress = (fraction) => (job.progress = fraction);
    if (mode === "grpc") return this.#overGrpc(track, onProgress, signal);
    if (mode === "poll") {
      await this.#submit(track, mode, signal);
      return this.#pollFor(track.trackHash, onProgress, signal);
    }
    const onFeatures = (features) => (job.features = features);
    return this.#byCallback(track, { onProgress, onFeatures }, signal);
  }

  /** Nobody waits for the job any more: the server need not go on with it. */
  async abandon(job) {
    if (job.trackHash === undefined) return;
    try {
      await (this.#grpc ?? this.#python).remove(job.trackHash);
    } catch (error) {
      this.#log.warn(`A job that is given up could not be ended: ${error.message}`);
    }
  }

  async #overGrpc(track, onProgress, signal) {
    const forget = this.#updates.onProgress(track.trackHash, onProgress);
    try {
      return await this.#stemFiles.collect((pathOf) =>
        this.#grpc.separate({ ...track, upload: this.#config.remote, pathOf }, signal),
      );
    } catch (error) {
      // A stream that was cut too often: the queue waits until the server is there again.
      if (error.brokenStream) throw new AnalysisError(error.message, { retryable: true, cause: error });
      throw error;
    } finally {
      forget();
    }
  }

  async #byCallback(track, { onProgress, onFeatures }, signal) {
    const { mode, callbackPatienceMs } = this.#config;
    const expected = this.#callbacks.expect(track.trackHash, mode, onFeatures);
    const asked = signalBelow(signal);
    try {
      await this.#submit(track, mode, signal);
      const asking = sleep(callbackPatienceMs, undefined, { signal: asked.signal }).then(() =>
        this.#pollFor(track.trackHash, onProgress, asked.signal, hasNoCallbackToCome),
      );
      return await Promise.race([expected.stems, asking]);
    } catch (error) {
      throw error.retryable === undefined && error instanceof AnalysisError
        ? await this.#judged(track.trackHash, error, signal)
        : error;
    } finally {
      asked.abort();
      expected.forget();
    }
  }

  /** Co-located servers exchange paths; otherwise the track itself is sent. */
  async #submit(track, mode, signal) {
    const callbackUrl = mode === "poll" ? undefined : this.#callbackUrl();
    const sends = mode === "callback" || this.#config.remote;
    const submit = sends ? this.#python.submitFile.bind(this.#python) : this.#python.submitPath.bind(this.#python);
    await submit({ ...track, mode, callbackUrl }, signal);
  }

  /** Asks until the job is done and `isTime` to fetch its stems. */
  async #pollFor(jobId, onProgress, signal, isTime = () => true) {
    for (;;) {
      const view = await this.#look(jobId, signal);
      if (view?.status === "failed" || view?.status === "cancelled") throw jobError(view);
      if (view !== undefined) onProgress(view.progress);
      if (view?.status === "completed" && isTime(view)) return this.#fetchStems(jobId, signal);
      await sleep(this.#config.pollIntervalMs, undefined, { signal });
    }
  }

  /** Undefined while the server is away: it restarts, and the job with it. */
  async #look(jobId, signal) {
    try {
      return await this.#python.job(jobId, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (error.code === "JOB_NOT_FOUND") throw new AnalysisError(error.message, { code: error.code, retryable: true });
      if (error.retryable) return undefined;
      throw error;
    }
  }

  async #fetchStems(jobId, signal) {
    if (this.#config.mode === "path") return stemPaths((await this.#python.stems(jobId, "path", signal)).stems);
    // By links even where base64 was asked for: files need not go through memory.
    const { stems } = await this.#python.stems(jobId, "poll", signal);
    return this.#stemFiles.collect(async (pathOf) => {
      for (const [stem, link] of Object.entries(stems)) {
        if (link !== null) await this.#python.download(link, pathOf(stem), signal);
      }
    });
  }

  /** A failed job, with whether it is worth another try. */
  async #judged(jobId, error, signal) {
    const view = await this.#look(jobId, signal);
    return view?.error ? jobError(view) : error;
  }
}

function jobError({ status, error }) {
  return new AnalysisError(error?.message ?? `the job is ${status}`, {
    code: error?.code ?? status.toUpperCase(),
    retryable: error?.retryable ?? false,
  });
}

function hasNoCallbackToCome({ callbacks }) {
  return callbacks.every(({ status }) => status !== "pending");
}
