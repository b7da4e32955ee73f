/** The container: upload of tracks, download of results. */

import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";

import { BlobServiceClient } from "@azure/storage-blob";

import { Failure, UsageFailure } from "./failure.js";

/** The SDK's defaults would repeat a request to a storage that is away for minutes. */
const RETRIES = { maxTries: 4, retryDelayInMs: 500, maxRetryDelayInMs: 4000, tryTimeoutInMs: 60_000 };
/** Only the start of a file is kept while it is read: headers of audio files, and whole documents. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;

export class Storage {
  #container;

  /** @param {{ connectionString: string, container: string }} where */
  constructor({ connectionString, container }) {
    try {
      const account = BlobServiceClient.fromConnectionString(connectionString, { retryOptions: RETRIES });
      this.#container = account.getContainerClient(container);
    } catch {
      // The SDK's message may quote the key.
      throw new UsageFailure("AZURE_STORAGE_CONNECTION_STRING is no connection string of a storage account");
    }
  }

  /** Makes the container; true if it was not there. Throws Failure. */
  async create(signal) {
    const made = await this.#asked("create the container", this.#container.createIfNotExists({ abortSignal: signal }));
    return made.succeeded;
  }

  /** Uploads a file in blocks and returns the blob's address; throws Failure. */
  async upload(path, name, signal) {
    const blob = this.#container.getBlockBlobClient(name);
    await this.#asked(`upload ${path} as ${name}`, blob.uploadFile(path, { abortSignal: signal }));
    return blob.url;
  }

  /**
   * Reads a result to its end, from this program's container. The worker may name the storage by another host (in
   * another network): only the path of the address counts, and it must be that of the expected blob.
   *
   * @param {string} address of the callback
   * @param {string} expected name of the blob
   * @param {{ keep: number, out?: string, signal: AbortSignal }} how `keep`: so many bytes are returned as `start`
   * @returns {Promise<{ size: number, sha256: string, start: Buffer }>}
   */
  async read(address, expected, { keep, out, signal }) {
    const blob = this.#container.getBlobClient(expected);
    const path = URL.canParse(address) ? new URL(address).pathname : undefined;
    if (path !== new URL(blob.url).pathname) {
      throw new Failure(`the callback names ${JSON.stringify(address)}, where ${expected} of this container was expected`);
    }
    const seen = new Seen(Math.min(keep, MAX_KEPT_BYTES));
    await this.#asked(
      `read ${expected}`,
      blob.download(0, undefined, { abortSignal: signal }).then(async ({ readableStreamBody }) => {
        if (out === undefined) {
          for await (const part of readableStreamBody) seen.add(part);
          return;
        }
        await mkdir(dirname(out), { recursive: true });
        await pipeline(readableStreamBody, (parts) => seen.passing(parts), createWriteStream(out), { signal });
      }),
    );
    return seen.summary();
  }

  /** @template T @param {string} what @param {Promise<T>} request @returns {Promise<T>} */
  async #asked(what, request) {
    try {
      return await request;
    } catch (error) {
      const code = error.code ?? error.details?.errorCode;
      const place = `container ${this.#container.containerName}`;
      throw new Failure(`cannot ${what} (${place}): ${code ?? error.name}${HINTS[code] ?? firstLine(error.message)}`);
    }
  }
}

const HINTS = {
  ContainerNotFound: "; create it with `npm run create-container`",
  AuthorizationFailure: "; is the key in AZURE_STORAGE_CONNECTION_STRING right?",
  AuthenticationFailed: "; is the key in AZURE_STORAGE_CONNECTION_STRING right?",
};

/** Where a result is stored below --out. */
export function placeBelow(folder, name) {
  return folder === undefined ? undefined : join(folder, ...name.split("/"));
}

function firstLine(message) {
  return `: ${message.split("\n")[0]}`;
}

/** Size, SHA-256 and start of what passes. */
class Seen {
  #hash = createHash("sha256");
  #size = 0;
  #start = [];
  #wanted;

  constructor(wanted) {
    this.#wanted = wanted;
  }

  add(part) {
    this.#hash.update(part);
    this.#size += part.length;
    if (this.#wanted > 0) {
      this.#start.push(part.subarray(0, this.#wanted));
      this.#wanted -= part.length;
    }
  }

  async *passing(parts) {
    for await (const part of parts) {
      this.add(part);
      yield part;
    }
  }

  summary() {
    return { size: this.#size, sha256: this.#hash.digest("hex"), start: Buffer.concat(this.#start) };
  }
}
