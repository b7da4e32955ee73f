/** Where tests let bytes go. */

import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import { type ReadStemOptions, type MismoClient, type StemChunk } from "mismo-client";

/** Keeps all it gets; takes `delayMs` for each write and notes how much lay in its buffer at most. */
export class Memory extends Writable {
  readonly #pieces: Buffer[] = [];
  mostBuffered = 0;

  constructor(
    private readonly delayMs = 0,
    highWaterMark = 64 * 1024,
  ) {
    super({ highWaterMark });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  override _write(piece: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.mostBuffered = Math.max(this.mostBuffered, this.writableLength);
    this.#pieces.push(piece);
    if (this.delayMs === 0) done();
    else void sleep(this.delayMs).then(() => done());
  }
}

/** Puts chunks together by stem, checking that none is missing or comes twice. */
export class Assembled {
  readonly #pieces = new Map<string, Buffer[]>();
  readonly #next = new Map<string, number>();

  take(chunk: StemChunk): void {
    const expected = this.#next.get(chunk.stemName) ?? chunk.startFrame;
    if (chunk.startFrame !== expected) throw new Error(`${chunk.stemName}: ${chunk.startFrame}, not ${expected}`);
    this.#next.set(chunk.stemName, chunk.startFrame + chunk.frameCount);
    this.#pieces.set(chunk.stemName, [...(this.#pieces.get(chunk.stemName) ?? []), chunk.data]);
  }

  get stems(): string[] {
    return [...this.#pieces.keys()];
  }

  bytes(stem: string): Buffer {
    return Buffer.concat(this.#pieces.get(stem) ?? []);
  }
}

/** A stem's bytes as `readStem` writes them. */
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
