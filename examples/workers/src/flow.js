/** The whole way of a track: upload, analysis, its results, generation, its results. */

import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ANALYSIS_PATH, CallbackServer, GENERATION_PATH } from "./callbacks.js";
import { Failure, reasonOf } from "./failure.js";
import { checkLengths, jamsSummary, WAV_START_BYTES, wavFormat } from "./results.js";
import { placeBelow, Storage } from "./storage.js";
import { addressTowards, jobView, submit, waitUntilHealthy } from "./workers.js";

const PROGRESS_POLL_MS = 1000;
/** Once a job has ended, the callback comes at once, or after a few repeated attempts of the worker. */
const CALLBACK_PATIENCE_MS = 60_000;
const JAMS_BYTES = 16 * 1024 * 1024;
const MIB = 1024 * 1024;

export class Flow {
  #options;
  #signal;
  #print;
  #patienceMs;
  #storage;
  #callbacks;
  #callbackBase;

  /**
   * @param {import("./options.js").Options} options
   * @param {object} parts
   * @param {AbortSignal} parts.signal ends everything
   * @param {(line: string) => void} parts.print
   * @param {number} [parts.patienceMs] how long after the end of a job its callback is waited for
   */
  constructor(options, { signal, print, patienceMs = CALLBACK_PATIENCE_MS }) {
    this.#options = options;
    this.#signal = signal;
    this.#print = print;
    this.#patienceMs = patienceMs;
    this.#storage = new Storage(options);
  }

  /** Throws Failure. */
  async run() {
    const { track, analysisUrl, generationUrl, timeoutMs } = this.#options;
    const file = await stat(track).catch((error) => {
      throw new Failure(`the track cannot be read: ${error.message}`);
    });
    if (!file.isFile()) throw new Failure(`the track ${track} is no file`);
    const patience = AbortSignal.any([this.#signal, AbortSignal.timeout(timeoutMs)]);
    for (const url of new Set([analysisUrl, generationUrl])) await waitUntilHealthy(url, patience);
    await this.#listen();
    try {
      const id = randomUUID();
      await this.#analyse(id, file.size);
      await this.#generate(id);
      this.#print("done: everything was read, and is as long and as large as it should be");
    } finally {
      await this.#callbacks.close();
    }
  }

  /** Listens where the analysis worker reaches this machine, or on all addresses if the user named one. */
  async #listen() {
    const { analysisUrl, callbackUrl, callbackPort } = this.#options;
    const here = await addressTowards(analysisUrl);
    // Each worker may reach this machine at another address than the other.
    const reached = new Set([here, await addressTowards(this.#options.generationUrl)]);
    const host = callbackUrl === undefined && reached.size === 1 ? here : undefined;
    try {
      this.#callbacks = await CallbackServer.listen(host, callbackPort);
    } catch (error) {
      throw new Failure(`callbacks cannot be received on port ${callbackPort}: ${reasonOf(error)}; see --callback-port`);
    }
    const literal = here.includes(":") ? `[${here}]` : here;
    this.#callbackBase = callbackUrl ?? `http://${literal}:${this.#callbacks.port}`;
    this.#print(`callbacks come to ${this.#callbackBase}`);
  }

  async #analyse(id, bytes) {
    const { track, analysisUrl, container } = this.#options;
    const blob = `${id}${extname(track).toLowerCase()}`;
    const uri = await this.#storage.upload(track, blob, this.#signal);
    this.#print(`uploaded ${track} (${mib(bytes)}) to ${container}/${blob}`);

    const callback = await this.#asked(analysisUrl, "analyze", id, ANALYSIS_PATH, {
      audio_file_id: id,
      blob_uri: uri,
      callback_url: `${this.#callbackBase}${ANALYSIS_PATH}`,
    });
    this.#printAnalysis(callback.analysis);

    const jamsBlob = `${id}/analysis/annotation.jams`;
    const out = placeBelow(this.#options.out, "analysis/annotation.jams");
    const { start } = await this.#storage.read(callback.jams_uri, jamsBlob, {
      keep: JAMS_BYTES,
      out,
      signal: this.#signal,
    });
    const { seconds, counts } = jamsSummary(start);
    const parts = Object.entries(counts).map(([namespace, count]) => `${namespace} ${count}`);
    this.#print(`  ${jamsBlob}: ${seconds.toFixed(1)} s; ${parts.join(", ")}`);
    await this.#readStems(callback.stems, `${id}/stems`, "stems", seconds);
  }

  async #generate(audioFileId) {
    const { generationUrl, stems, parameters } = this.#options;
    const id = randomUUID();
    const callback = await this.#asked(generationUrl, "generate", id, GENERATION_PATH, {
      generation_request_id: id,
      audio_file_id: audioFileId,
      target_stems: stems,
      parameters,
      callback_url: `${this.#callbackBase}${GENERATION_PATH}`,
    });
    const used = Object.entries(callback.parameters ?? {}).filter(([, value]) => value !== null && value !== "");
    this.#print(`  made with ${used.map(([name, value]) => `${name} ${value}`).join(", ")}`);
    const folder = `${audioFileId}/generated/${id}`;
    await this.#readStems(callback.stems, folder, "generated", parameters.duration_seconds, stems);
  }

  /** Sends one request and waits for its callback, with the job's progress. Throws Failure if the job failed. */
  async #asked(url, verb, id, path, payload) {
    const { timeoutMs } = this.#options;
    const expected = this.#callbacks.expect(path, id);
    const began = performance.now();
    const ended = new AbortController();
    const limit = AbortSignal.any([this.#signal, AbortSignal.timeout(timeoutMs), ended.signal]);
    try {
      await submit(`${url}/${verb}`, payload, limit);
      this.#print(`POST ${url}/${verb}: accepted as job ${id}`);
      const body = await Promise.race([expected, this.#watch(url, id, payload.callback_url, limit)]);
      if (body.status === "failed") {
        throw new Failure(`the job ${id} failed: ${body.error?.code ?? "no code"}: ${body.error?.message ?? "no reason"}`);
      }
      this.#print(`callback after ${((performance.now() - began) / 1000).toFixed(1)} s`);
      return body;
    } finally {
      ended.abort();
    }
  }

  /** Prints the progress of a job. Never resolves; throws Failure once there is no hope for a callback. */
  async #watch(url, id, callbackUrl, limit) {
    let printed = "";
    let endedAt, view;
    for (;;) {
      try {
        await sleep(PROGRESS_POLL_MS, undefined, { signal: limit });
      } catch {
        this.#signal.throwIfAborted();
        const known = view === undefined ? "GET /jobs of it has no answer" : `it is ${view.status}`;
        throw new Failure(
          `no callback for job ${id} within ${this.#options.timeoutMs / 1000} s (${known}); see --timeout`,
        );
      }
      view = (await jobView(url, id, limit)) ?? view;
      if (view === undefined) continue;
      const line = `  ${view.status} ${Math.floor(100 * (view.progress ?? 0))} %`;
      if (line !== printed) this.#print((printed = line));
      if (!["completed", "failed", "cancelled"].includes(view.status)) continue;
      endedAt ??= performance.now();
      if (performance.now() - endedAt > this.#patienceMs) {
        const why = view.error ? `: ${view.error.code}: ${view.error.message}` : "";
        throw new Failure(
          `the job ${id} is ${view.status}${why}, but its callback did not come; does the worker reach ${callbackUrl} ` +
            "(--callback-url), and may it (MISMO_CALLBACK_ALLOWED_HOSTS)?",
        );
      }
    }
  }

  #printAnalysis(analysis) {
    if (!analysis) throw new Failure("the callback of a completed analysis has no analysis");
    const { duration_seconds: seconds, bpm, key, beats, sections, chords } = analysis;
    this.#print(
      `  ${seconds?.toFixed(1) ?? "?"} s, ${bpm?.toFixed(1) ?? "no"} BPM, ${key ?? "no key"}; ` +
        `${beats?.length ?? 0} beats, ${sections?.length ?? 0} sections, ${chords?.length ?? 0} chords`,
    );
  }

  /** Reads every stem to its end and compares it with what the callback says. */
  async #readStems(stems, folder, below, seconds, wanted) {
    if (!Array.isArray(stems) || stems.length === 0) throw new Failure("the callback names no stems");
    const names = stems.map(({ stem_type: name }) => name);
    if (wanted !== undefined && names.toSorted().join() !== wanted.toSorted().join()) {
      throw new Failure(`asked for the stems ${wanted.join(", ")}, got ${names.join(", ")}`);
    }
    const formats = {};
    for (const { stem_type: name, blob_uri: uri, size_bytes: size, sha256 } of stems) {
      // The name becomes part of a path.
      if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Failure(`${JSON.stringify(name)} is no name of a stem`);
      const blob = `${folder}/${name}.wav`;
      const out = placeBelow(this.#options.out, `${below}/${name}.wav`);
      const read = await this.#storage.read(uri, blob, { keep: WAV_START_BYTES, out, signal: this.#signal });
      if (read.size !== size || read.sha256 !== sha256) {
        throw new Failure(`${blob} is not what the callback says: its size or its SHA-256 differs`);
      }
      formats[name] = wavFormat(read.start, read.size, blob);
      const { seconds: length, rate, channels } = formats[name];
      this.#print(`  ${blob}: ${length.toFixed(2)} s, ${rate} Hz, ${channels} channels, ${mib(size)}, SHA-256 fits`);
    }
    checkLengths(formats, seconds);
  }
}

function mib(bytes) {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
