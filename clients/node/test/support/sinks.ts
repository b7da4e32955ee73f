/** Sinks that store what a test reads. */

import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import { type ReadStemOptions, type MismoClient, type StemChunk } from "mismo-client";

/** Stores all bytes. Delays each write by `delayMs` and records the most bytes that were buffered. */
export class Memory extends Writable {
  readonly #chunks: Buffer[] = [];
  mostBuffered = 0;

  constructor(
    private readonly delayMs = 0,
    highWaterMark = 64 * 1024,
  ) {
    super({ highWaterMark });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.mostBuffered = Math.max(this.mostBuffered, this.writableLength);
    this.#chunks.push(chunk);
    if (this.delayMs === 0) done();
    else void sleep(this.delayMs).then(() => done());
  }
}

/** Joins chunks by stem, and checks that none is missing or repeated. */
export class StemAssembler {
  readonly #chunks = new Map<string, Buffer[]>();
  readonly #next = new Map<string, number>();

  add(chunk: StemChunk): void {
    const expected = this.#next.get(chunk.stemName) ?? chunk.startFrame;
    if (chunk.startFrame !== expected) throw new Error(`${chunk.stemName}: ${chunk.startFrame}, not ${expected}`);
    this.#next.set(chunk.stemName, chunk.startFrame + chunk.frameCount);
    this.#chunks.set(chunk.stemName, [...(this.#chunks.get(chunk.stemName) ?? []), chunk.data]);
  }

  get stems(): string[] {
    return [...this.#chunks.keys()];
  }

  bytes(stem: string): Buffer {
    return Buffer.concat(this.#chunks.get(stem) ?? []);
  }
}

/** Returns the bytes of a stem as `readStem` writes them. */
export async function stemBytes(
  client: MismoClient,
  jobId: string,
  stem: string,
  options: ReadStemOptions = {},
): Promise<Buffer> {
  const memory = new Memory();
  await client.readStem(jobId, stem, memory, options);
  return memory.bytes;
}
