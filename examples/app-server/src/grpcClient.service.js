/** The analysis server's gRPC side: the stems are written while they are made, over one connection and no route. */

import { open } from "node:fs/promises";

import { connect, frameBytes, Priority } from "mismo-client";

import { signalBelow } from "./deadline.js";
import { stemHeader } from "./wavFile.js";

const PRIORITIES = { high: Priority.HIGH, normal: Priority.NORMAL, low: Priority.LOW };
/** Disks like larger pieces than ears do. */
const CHUNK_BYTES = 256 << 10;
const CREDIT_BYTES = 4 << 20;

export class GrpcClient {
  #client;

  /** @param {string} address host:port */
  constructor(address, log) {
    const onRetry = (error, delay) => log.warn(`gRPC: ${error.message}; again in ${delay.toFixed(1)} s`);
    this.#client = connect(address, { onRetry });
  }

  /**
   * Separates a track. A broken connection, or a server that restarts, does not end it: the client goes on where each
   * stem stopped. Throws MismoError, and what the file system says.
   *
   * @param {object} track
   * @param {string} track.filePath
   * @param {string} track.trackHash becomes the job's id
   * @param {"high" | "normal" | "low"} track.priority
   * @param {boolean} track.upload the server cannot read the path
   * @param {(stem: string) => string} track.pathOf where each stem goes
   * @param {(fraction: number) => void} track.onProgress
   * @param {AbortSignal} signal
   */
  async separate({ filePath, trackHash, priority, upload, pathOf, onProgress }, signal) {
    const source = upload ? await this.#client.upload(filePath, { signal }) : filePath;
    const { job } = await this.#client.submit(source, { jobId: trackHash, priority: PRIORITIES[priority], signal });
    const both = signalBelow(signal);
    const watching = this.#watch(job.jobId, onProgress, both.signal);
    try {
      await this.#writeStems(job.jobId, pathOf, both.signal);
    } finally {
      both.abort();
      await watching;
    }
  }

  /** Ends a job that nobody waits for any more. */
  remove(id, signal) {
    return this.#client.delete(id, { signal });
  }

  close() {
    this.#client.close();
  }

  /** Only for the progress: the stems' stream itself tells when the job is done, or why it failed. */
  async #watch(jobId, onProgress, signal) {
    try {
      for await (const event of this.#client.watch(jobId, { signal })) {
        if (event.type === "progress") onProgress(event.progress.fraction);
      }
    } catch {
      // The stream meets the same error, or none.
    }
  }

  async #writeStems(jobId, pathOf, signal) {
    const player = this.#client.streamStems(jobId, {
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
