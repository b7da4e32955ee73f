/** What is uploaded: read more than once, first for its checksum, then from wherever the server stopped. */

import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const HASH_BLOCK_BYTES = 1 << 20;

/**
 * A file's path, its bytes, or a stream of them. A stream can be read only once, so it goes through a
 * temporary file, which is removed when the upload ends.
 */
export type UploadSource = string | Uint8Array | Readable | AsyncIterable<Uint8Array>;

/** The content as it was when its upload began. */
export interface UploadContent {
  readonly filename: string;
  readonly totalBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** At most `length` bytes from `offset`; fewer only at the end. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Its checksum now. */
  hash(): Promise<string>;
  close(): Promise<void>;
}

/** Reads it once. Throws the errors of the file system or of the stream, or the signal's reason. */
export async function openSource(
  source: UploadSource,
  filename: string | undefined,
  signal: AbortSignal | undefined,
): Promise<UploadContent> {
  if (source instanceof Uint8Array) return openBytes(source, filename ?? "");
  if (typeof source === "string") return openFile(source, filename ?? basename(source), signal);
  const path = join(tmpdir(), `mismo-upload-${randomUUID()}`);
  try {
    await pipeline(source, createWriteStream(path, { flags: "wx", mode: 0o600 }), signal ? { signal } : {});
    // The open file outlives its name: nothing is left behind, whatever becomes of this process.
    return await openFile(path, filename ?? "", signal);
  } finally {
    await rm(path, { force: true });
  }
}

function openBytes(bytes: Uint8Array, filename: string): UploadContent {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hash = (): string => createHash("sha256").update(content).digest("hex");
  return {
    filename,
    totalBytes: content.length,
    sha256: hash(),
    read: async (offset, length) => content.subarray(offset, offset + length),
    hash: async () => hash(),
    close: async () => undefined,
  };
}

async function openFile(path: string, filename: string, signal: AbortSignal | undefined): Promise<UploadContent> {
  const file = await open(path, "r");
  try {
    const { sha256, bytes } = await hashFile(file, signal);
    return {
      filename,
      totalBytes: bytes,
      sha256,
      read: (offset, length) => readFully(file, offset, length),
      hash: async () => (await hashFile(file, signal)).sha256,
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function hashFile(file: FileHandle, signal: AbortSignal | undefined): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash("sha256");
  for (let bytes = 0; ; ) {
    signal?.throwIfAborted();
    const block = await readFully(file, bytes, HASH_BLOCK_BYTES);
    if (block.length === 0) return { sha256: hash.digest("hex"), bytes };
    hash.update(block);
    bytes += block.length;
  }
}

async function readFully(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
