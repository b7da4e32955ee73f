/** Uploads a file; continues by itself over a cut network and a restart of the server. */

import { Code } from "@connectrpc/connect";

import type { MismoClient } from "./client.js";
import { crc32c } from "./crc32c.js";
import { TransferService, type UploadAudioResponse } from "./generated/mismo/analysis/v1/transfer_service_pb.js";
import { Backoff } from "./rpc/backoff.js";
import { Call } from "./rpc/call.js";
import { errorOf, MismoError, networkError } from "./rpc/errors.js";

const CHUNK_BYTES = 256 << 10;
/** Most bytes that are sent and not acknowledged; the server acknowledges each MiB, and at the latest after 0.1 s. */
const WINDOW_BYTES = 4 << 20;
/** A server that acknowledges nothing for so long, although it has received bytes, counts as lost. */
const SILENCE_SECONDS = 30;

/** Options of `uploadFile`. */
export interface UploadOptions {
  /** The name that the job shows; by default the file's own. */
  filename?: string;
  /**
   * Called with the bytes that are safe on the server; with `waiting` and the reason while it takes none: out of reach,
   * its disk is full, or it serves too many uploads.
   */
  onProgress?: (committedBytes: number, totalBytes: number, state: "sending" | "waiting", error?: MismoError) => void;
  signal?: AbortSignal;
}

type UploadCall = Call<typeof TransferService.method.uploadAudio.input, typeof TransferService.method.uploadAudio.output>;

/**
 * Uploads a file and returns its upload_id, the source of a job.
 *
 * Throws MismoError: what the server refuses, FILE_UNREADABLE if the file was changed or removed, CANCELLED after
 * `signal`. While the server is out of reach it tries again without end.
 */
export async function uploadFile(client: MismoClient, file: Blob, options: UploadOptions = {}): Promise<string> {
  const upload = new Upload(client, file, options);
  const backoff = new Backoff();
  for (;;) {
    const before = upload.committed;
    try {
      return await upload.run();
    } catch (cause) {
      const error = errorOf(cause);
      if (options.signal?.aborted) throw error;
      if (upload.committed > before) backoff.succeeded();
      // An upload that waited too long was removed: its file is sent from the beginning.
      if (error.reason === "UPLOAD_NOT_FOUND" && upload.restart()) continue;
      if (!error.retryable) throw error;
      options.onProgress?.(upload.committed, file.size, "waiting", error);
      await backoff.wait(error, options.signal);
    }
  }
}

class Upload {
  /** Bytes that are safe on the server. */
  committed = 0;
  #uploadId = "";

  constructor(
    private readonly client: MismoClient,
    private readonly file: Blob,
    private readonly options: UploadOptions,
  ) {}

  /** Forgets what was sent; false if nothing was. */
  restart(): boolean {
    const sent = this.#uploadId !== "";
    this.#uploadId = "";
    this.committed = 0;
    return sent;
  }

  /** Makes one call that continues the upload; returns the id once it is complete. */
  async run(): Promise<string> {
    const { file, options } = this;
    const call: UploadCall = new Call(this.client.baseUrl, TransferService.method.uploadAudio, options.signal);
    try {
      const filename = options.filename ?? (file instanceof File ? file.name : "");
      const header = { uploadId: this.#uploadId, filename, totalBytes: BigInt(file.size) };
      call.send({ message: { case: "header", value: header } });
      let complete = this.#acknowledge(await call.next(SILENCE_SECONDS));
      for (let at = this.committed; at < file.size && !complete; ) {
        if (at - this.committed >= WINDOW_BYTES) {
          complete = this.#acknowledge(await call.next(SILENCE_SECONDS));
          continue;
        }
        const data = await this.#read(at);
        call.send({ message: { case: "chunk", value: { offset: BigInt(at), data, crc32c: crc32c(data) } } });
        at += data.length;
        if (call.ended) complete = this.#acknowledge(await call.next());
      }
      if (!complete) call.send({ message: { case: "finish", value: {} } });
      while (!complete) complete = this.#acknowledge(await call.next(SILENCE_SECONDS));
      return this.#uploadId;
    } finally {
      call.close();
    }
  }

  #acknowledge(message: UploadAudioResponse | undefined): boolean {
    if (message === undefined) throw networkError("the upload stopped before it was complete");
    this.#uploadId = message.uploadId;
    this.committed = Number(message.committedBytes);
    this.options.onProgress?.(this.committed, this.file.size, "sending");
    return message.complete;
  }

  async #read(at: number): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return new Uint8Array(await this.file.slice(at, at + CHUNK_BYTES).arrayBuffer());
    } catch (cause) {
      throw new MismoError(Code.Aborted, "the file cannot be read; it was changed, moved or removed", {
        reason: "FILE_UNREADABLE",
        cause,
      });
    }
  }
}
