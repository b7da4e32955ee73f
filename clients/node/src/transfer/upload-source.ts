/** Content of an upload, read once for its checksum and again from each position where an upload resumes. */

import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const HASH_BLOCK_BYTES = 1 << 20;

/**
 * The path of a file, its bytes, or a stream of bytes. A stream can be read only once, so it is copied to a temporary
 * file, which is removed.
 */
export type UploadSource = string | Uint8Array | Readable | AsyncIterable<Uint8Array>;

/** The content at the start of its upload. */
export interface UploadContent {
  readonly filename: string;
  readonly totalBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Reads at most `length` bytes from `offset`; fewer only at the end. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Computes the SHA-256 of the present content. */
  hash(): Promise<string>;
  close(): Promise<void>;
}

/** Opens and hashes the content. Throws the errors of the file system or of the stream, or the signal's reason. */
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
    // The file stays readable after its name is removed, and a crash leaves no file behind.
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
