/** The analysis server's gRPC side: stems are written while they are separated, over one connection and no route. */

import { open } from "node:fs/promises";

import { connect, frameBytes, Priority } from "mismo-client";

import { stemHeader } from "./wavFile.js";

const PRIORITIES = { high: Priority.HIGH, normal: Priority.NORMAL, low: Priority.LOW };
/** Disks like larger pieces than ears do. */
const CHUNK_BYTES = 256 << 10;
const CREDIT_BYTES = 4 << 20;

export class GrpcClient {
  #client;
  #instanceName;

  /**
   * @param {string} address host:port
   * @param {string} instanceName labels the jobs, so that several app servers can share an analysis server
   */
  constructor(address, instanceName, log) {
    this.#instanceName = instanceName;
    const onRetry = (error, delay) => log.warn(`gRPC: ${error.message}; again in ${delay.toFixed(1)} s`);
    this.#client = connect(address, { onRetry });
  }

  /**
   * Separates a track. A broken connection, or a server that restarts, does not end it: the client goes on where each
   * stem stopped, in the same run of the job. Throws MismoError, and what the file system says.
   *
   * @param {object} track
   * @param {string} track.filePath
   * @param {string} track.trackId
   * @param {string} track.trackHash becomes the job's id
   * @param {"high" | "normal" | "low"} track.priority
   * @param {boolean} track.upload the server cannot read the path
   * @param {(stem: string) => string} track.pathOf where each stem goes
   * @param {AbortSignal} signal
   */
  async separate({ filePath, trackId, trackHash, priority, upload, pathOf }, signal) {
    const source = upload ? await this.#client.upload(filePath, { signal }) : filePath;
    const labels = { ...this.#labels, track: trackId };
    const options = { jobId: trackHash, priority: PRIORITIES[priority], labels, signal };
    const { job } = await this.#client.submit(source, options);
    await this.#writeStems(job, pathOf, signal);
  }

  /** The changes of all jobs that were submitted from here, from a cursor on. */
  watchJobs({ cursor, signal }) {
    return this.#client.watchJobs({ labels: this.#labels, cursor, signal });
  }

  /** Ends a job that nobody waits for any more. */
  remove(id, signal) {
    return this.#client.delete(id, { allowMissing: true, signal });
  }

  close() {
    this.#client.close();
  }

  get #labels() {
    return { submitter: this.#instanceName };
  }

  /** The stream tells when the job is done, or why it failed. */
  async #writeStems({ jobId, runId }, pathOf, signal) {
    const player = this.#client.streamStems(jobId, {
      expectedRunId: runId,
      follow: true,
      chunkBytes: CHUNK_BYTES,
      creditBytes: CREDIT_BYTES,
      signal,
    });
    const format = await player.format();
    const header = stemHeader(format);
    const bytesPerFrame = frameBytes(format);
    const files = [];
    try {
      for (const stem of format.stemNames) {
        const file = await open(pathOf(stem), "wx");
        files.push(file);
        await file.writeFile(header);
      }
      for await (const { stemIndex, startFrame, data } of player) {
        await writeAll(files[stemIndex], data, header.length + startFrame * bytesPerFrame);
      }
    } finally {
      player.close();
      await Promise.all(files.map((file) => file.close()));
    }
  }
}

/** A write may take less than it was given. */
async function writeAll(file, data, position) {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    done += bytesWritten;
  }
}
