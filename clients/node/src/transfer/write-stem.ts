/** Writes one stem to a Writable. */

import type { Writable } from "node:stream";

import type { Connection } from "../rpc/connection.js";
import type { StemFormat } from "./stem-format.js";
import { type ReadStemOptions, StemReader } from "./stem-reader.js";
import { writeAll, type WriteOptions } from "./write-all.js";

/** The result of `readStem`. */
export interface StemRead {
  readonly format: StemFormat;
  /** The first frame written. */
  readonly startFrame: number;
  readonly frameCount: number;
  /** Bytes written. */
  readonly bytes: number;
}

/** Writes it with back-pressure; resolves when all is written. Throws as MismoClient.readStem does. */
export async function writeStem(
  connection: Connection,
  jobId: string,
  stemName: string,
  target: Writable,
  options: ReadStemOptions & WriteOptions,
): Promise<StemRead> {
  const reader = new StemReader(connection, jobId, stemName, options);
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
