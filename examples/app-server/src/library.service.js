/** The tracks in the library's folders. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { pipeline } from "node:stream/promises";

const AUDIO = new Set([".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav"]);

/** @typedef {{ id: string, path: string, title: string }} Track */

export class Library {
  /** Real paths: the analysis server compares with these. */
  #directories = new Set();
  /** @type {Map<string, Track>} */
  #tracks = new Map();

  get directories() {
    return [...this.#directories];
  }

  get tracks() {
    return [...this.#tracks.values()];
  }

  /** Takes in a folder; true if it is new. Throws what the file system says. */
  async add(directory) {
    const real = await realpath(directory);
    if (!(await stat(real)).isDirectory()) throw new RangeError(`${directory} is no folder`);
    const isNew = !this.#directories.has(real);
    this.#directories.add(real);
    await this.scan();
    return isNew;
  }

  /** True if it was there. */
  async remove(directory) {
    const had = this.#directories.delete(directory);
    await this.scan();
    return had;
  }

  /** Looks through the folders anew. Links inside are not followed: they may lead out of the library. */
  async scan() {
    const found = new Map();
    for (const directory of this.#directories) {
      const entries = await readdir(directory, { recursive: true, withFileTypes: true });
      for (const entry of entries) {
        if (!entry.isFile() || !AUDIO.has(extname(entry.name).toLowerCase())) continue;
        const path = join(entry.parentPath ?? entry.path, entry.name);
        const id = createHash("sha256").update(path).digest("hex").slice(0, 16);
        found.set(id, { id, path, title: basename(path, extname(path)) });
      }
    }
    this.#tracks = found;
  }

  /** @returns {Track | undefined} */
  track(id) {
    return this.#tracks.get(id);
  }
}

/**
 * The `track_hash` of a track, which becomes the job's id: of its content, so that a changed file is another job, and
 * with the track's id before it, so that two copies of a song do not share one job.
 *
 * @param {Track} track
 * @param {AbortSignal} [signal]
 */
export async function trackHash(track, signal) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(track.path), hash, { signal });
  return `${track.id}-${hash.digest("hex")}`;
}
