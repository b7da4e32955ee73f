/** Stems that came over the network, as files for the engine: in private folders, removed after a while. */

import { mkdtempSync, rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { AnalysisError } from "./pythonClient.service.js";

/** Names become file names: no dots, no slashes. */
const STEM_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

export class StemFiles {
  #keepMs;
  #log;
  /** For this process and this user alone: in a shared /tmp nobody can put a link in the way. */
  #root = mkdtempSync(join(tmpdir(), "mismo-stems-"));
  #timers = new Set();

  constructor({ keepMs, log }) {
    this.#keepMs = keepMs;
    this.#log = log;
  }

  /**
   * A folder that `write` fills, all or nothing: it answers the stems' paths, and what it leaves half done is removed.
   *
   * @param {(pathOf: (stem: string) => string) => Promise<void>} write `pathOf` gives each stem its place
   * @returns {Promise<Record<string, string>>} paths by stem
   */
  async collect(write) {
    const folder = await mkdtemp(join(this.#root, "job-"));
    const paths = {};
    try {
      await write((stem) => {
        if (!STEM_NAME.test(stem)) throw new AnalysisError(`${JSON.stringify(stem)} is no name of a stem`);
        return (paths[stem] = join(folder, `${stem}.wav`));
      });
      if (Object.keys(paths).length === 0) throw new AnalysisError("there are no stems");
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    this.#removeLater(folder);
    return paths;
  }

  /** The stems of a callback: base64 WAV by name, null for what there is not. */
  decode(stems) {
    return this.collect(async (pathOf) => {
      for (const [stem, base64] of Object.entries(stems)) {
        if (base64 !== null) await writeFile(pathOf(stem), wavOf(stem, base64), { flag: "wx" });
      }
    });
  }

  /** Removes everything. */
  close() {
    for (const timer of this.#timers) clearTimeout(timer);
    rmSync(this.#root, { recursive: true, force: true });
  }

  #removeLater(folder) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      rm(folder, { recursive: true, force: true }).catch((error) => {
        this.#log.error(`Stems cannot be removed: ${error.message}`);
      });
    }, this.#keepMs);
    this.#timers.add(timer);
  }
}

function wavOf(stem, base64) {
  const wav = typeof base64 === "string" ? Buffer.from(base64, "base64") : Buffer.alloc(0);
  // Node's decoder skips what is no base64, and ends at the first padding.
  const whole = wav.length > 0 && wav.length === Buffer.byteLength(base64, "base64");
  if (!whole || wav.toString("latin1", 0, 4) !== "RIFF") {
    throw new AnalysisError(`the stem ${stem} is no WAV file in base64`, { code: "BAD_CALLBACK" });
  }
  return wav;
}
