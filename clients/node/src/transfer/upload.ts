/** Uploads a track and resumes from the bytes that the server has committed. */

import { type ClientDuplexStream, status } from "@grpc/grpc-js";

import type { UploadAudioRequest, UploadAudioResponse } from "../generated/mismo/analysis/v1/transfer_service.js";
import type { Connection } from "../rpc/connection.js";
import { MismoError, SourceChangedError, toMismoError } from "../rpc/errors.js";
import { closeGracefully, MessageReader } from "../rpc/message-reader.js";
import type { Attempts } from "../rpc/retry.js";
import type { OnBytes } from "./artifact-reader.js";
import { crc32c } from "./crc32c.js";
import type { UploadContent } from "./upload-source.js";

type Call = ClientDuplexStream<UploadAudioRequest, UploadAudioResponse>;
type ClientMessage = NonNullable<UploadAudioRequest["message"]>;

const CHUNK_BYTES = 256 * 1024;
/** The upload expired and must begin again. */
const EXPIRED_REASON = "UPLOAD_NOT_FOUND";
/** The upload resumes from the committed bytes if the content has not changed. */
const RESUMABLE_REASONS: ReadonlySet<string> = new Set(["UPLOAD_CHECKSUM_MISMATCH", "UPLOAD_GAP"]);

/** A completed upload, which can be the source of a job. */
export interface UploadedTrack {
  readonly uploadId: string;
  readonly totalBytes: number;
  /** SHA-256 of the content, lower-case hex. */
  readonly sha256: string;
}

/** The upload of one track. */
export class Upload {
  readonly #attempts: Attempts;
  #uploadId = "";
  #mostCommitted = 0;

  constructor(
    private readonly connection: Connection,
    private readonly content: UploadContent,
    private readonly signal: AbortSignal | undefined,
    private readonly onProgress: OnBytes | undefined,
  ) {
    this.#attempts = connection.settings.streamAttempts();
  }

  /**
   * Sends the bytes that the server has not committed, until it has all.
   *
   * Throws MismoError, SourceChangedError, the errors of the file system, or the signal's reason.
   */
  async run(): Promise<UploadedTrack> {
    for (;;) {
      this.signal?.throwIfAborted();
      let failed: MismoError;
      try {
        const uploaded = await this.#sendOnce();
        if (uploaded !== undefined) return uploaded;
        failed = new MismoError(status.UNAVAILABLE, "the upload ended before it was complete");
      } catch (error) {
        this.signal?.throwIfAborted();
        failed = toMismoError(error);
      }
      if (failed.reason === EXPIRED_REASON && this.#uploadId !== "") {
        this.#uploadId = "";
      } else if (RESUMABLE_REASONS.has(failed.reason)) {
        if ((await this.content.hash()) !== this.content.sha256) throw this.#sourceChanged();
        await this.#attempts.waitAfter(failed, this.signal, "resumable");
      } else {
        await this.#attempts.waitAfter(failed, this.signal, "stream");
      }
    }
  }

  #sourceChanged(): SourceChangedError {
    return new SourceChangedError(`${this.content.filename} changed during its upload; upload it again`);
  }

  /** Makes one call; undefined if the server ended it early without an error. */
  async #sendOnce(): Promise<UploadedTrack | undefined> {
    const { filename, totalBytes, sha256 } = this.content;
    const call = this.connection.open((stubs) => stubs.transfers.uploadAudio());
    const acks = new MessageReader<UploadAudioResponse>(call);
    const ended = new Promise<void>((resolve) => call.once("status", () => resolve()));
    const cancel = (): void => call.cancel();
    this.signal?.addEventListener("abort", cancel, { once: true });
    try {
      await write(call, ended, { $case: "header", value: { uploadId: this.#uploadId, filename, totalBytes, sha256 } });
      // The first answer has the offset to send from, which can be lower than before after a power cut of the server.
      // If the server already has the content, the first answer is `complete`.
      let ack = await acks.next();
      if (ack === undefined) return undefined;
      this.#handleAck(ack);
      if (!ack.complete) {
        const [complete] = await Promise.all([
          this.#awaitComplete(acks),
          this.#sendFrom(call, ended, acks, ack.committedBytes),
        ]);
        ack = complete;
      }
      if (ack === undefined) return undefined;
      closeGracefully(call, acks);
      return { uploadId: ack.uploadId, totalBytes, sha256: ack.sha256 };
    } catch (error) {
      call.cancel();
      throw error;
    } finally {
      this.signal?.removeEventListener("abort", cancel);
    }
  }

  async #awaitComplete(acks: MessageReader<UploadAudioResponse>): Promise<UploadAudioResponse | undefined> {
    for (let ack; (ack = await acks.next()) !== undefined; ) {
      this.#handleAck(ack);
      if (ack.complete) return ack;
    }
    return undefined;
  }

  #handleAck({ uploadId, committedBytes }: UploadAudioResponse): void {
    this.#uploadId = uploadId;
    // Only newly committed bytes are progress; otherwise data that is damaged each time would be sent for ever.
    if (committedBytes > this.#mostCommitted) this.#attempts.progressed();
    else this.#attempts.connected();
    this.#mostCommitted = Math.max(this.#mostCommitted, committedBytes);
    this.onProgress?.(committedBytes, this.content.totalBytes);
  }

  /** Sends the chunks from `offset` on, then `finish`. Stops when the call is over; its reader gets the error. */
  async #sendFrom(
    call: Call,
    ended: Promise<void>,
    acks: MessageReader<UploadAudioResponse>,
    offset: number,
  ): Promise<void> {
    while (offset < this.content.totalBytes) {
      const length = Math.min(CHUNK_BYTES, this.content.totalBytes - offset);
      const data = await this.content.read(offset, length);
      if (data.length === 0) throw this.#sourceChanged();
      if (acks.isOver) return;
      await write(call, ended, { $case: "chunk", value: { offset, data, crc32c: crc32c(data) } });
      offset += data.length;
    }
    if (!acks.isOver) await write(call, ended, { $case: "finish", value: {} });
  }
}

/** Waits until the message is written or the call has ended; an ended call may never confirm a write. */
async function write(call: Call, ended: Promise<void>, message: ClientMessage): Promise<void> {
  await Promise.race([ended, new Promise<unknown>((written) => call.write({ message }, written))]);
}
