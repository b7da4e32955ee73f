/** A worker that computes nothing: the contract of the real one, results in the container, and callbacks. */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

export const STEMS = ["vocals", "drums", "bass", "other"];
export const TRACK_SECONDS = 2;
const RATE = 8000;

/** A stereo WAV file of 16 bits. */
export function wav(seconds) {
  const data = Buffer.alloc(Math.round(seconds * RATE) * 4, 1);
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(2, 22);
  header.writeUInt32LE(RATE, 24);
  header.writeUInt32LE(RATE * 4, 28);
  header.writeUInt16LE(4, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

export class FakeWorker {
  /** The requests that came: { path, headers, body }. */
  requests = [];
  /** The statuses that callbacks were answered with. */
  answers = [];
  /** Of GET /jobs/{id}. */
  jobs = new Map();
  #server = createServer((request, response) => void this.#handle(request, response));
  #container;
  #faults;

  /**
   * @param {import("node:test").TestContext} test
   * @param {import("@azure/storage-blob").ContainerClient} container
   * @param {object} [faults] what is different from a good worker
   */
  static async start(test, container, faults = {}) {
    const worker = new FakeWorker();
    worker.#container = container;
    worker.#faults = faults;
    worker.#server.listen(0, "127.0.0.1");
    await once(worker.#server, "listening");
    test.after(() => {
      worker.#server.close();
      worker.#server.closeAllConnections();
    });
    return worker;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  async #handle(request, response) {
    const answer = (status, body) => {
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(JSON.stringify(body));
    };
    if (request.url === "/health") return answer(this.#faults.unhealthy ? 503 : 200, { status: "ok" });
    if (request.url.startsWith("/jobs/")) {
      const view = this.jobs.get(request.url.slice("/jobs/".length));
      return view ? answer(200, view) : answer(404, { error: { code: "JOB_NOT_FOUND", message: "no such job" } });
    }
    const body = JSON.parse(Buffer.concat(await request.toArray()));
    this.requests.push({ path: request.url, headers: request.headers, body });
    if (this.#faults.refuse) return answer(422, { error: this.#faults.refuse });
    const analyses = request.url === "/analyze";
    const id = analyses ? body.audio_file_id : body.generation_request_id;
    this.jobs.set(id, { job_id: id, status: "processing", progress: 0.5, error: null });
    if (!this.#faults.callbackBeforeAnswer) answer(202, { job_id: id });
    const callback = await (analyses ? this.#analysis(body) : this.#generation(body));
    if (this.#faults.silent) {
      this.jobs.set(id, { job_id: id, status: "completed", progress: 1, error: null });
      return;
    }
    const identity = { job_id: id, timestamp: new Date().toISOString(), error: null };
    const sent = this.#faults.callback?.({ ...identity, ...callback }) ?? { ...identity, ...callback };
    for (let times = this.#faults.callbackTimes ?? 1; times > 0; times -= 1) {
      const done = await fetch(body.callback_url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(sent),
      });
      this.answers.push(done.status);
    }
    if (this.#faults.callbackBeforeAnswer) answer(202, { job_id: id });
  }

  async #analysis({ audio_file_id: id, blob_uri: uri }) {
    const name = decodeURIComponent(new URL(uri).pathname.split("/").at(-1));
    await this.#container.getBlobClient(name).downloadToBuffer();
    const jams = {
      annotations: ["tempo", "key_mode", "beat", "segment_open", "chord"].map((namespace) => ({
        namespace,
        data: [{ time: 0, duration: TRACK_SECONDS, value: 1, confidence: 1 }],
      })),
      file_metadata: { duration: TRACK_SECONDS },
    };
    const stored = await this.#store(`${id}/analysis/annotation.jams`, Buffer.from(JSON.stringify(jams)));
    return {
      audio_file_id: id,
      status: "completed",
      analysis: {
        duration_seconds: TRACK_SECONDS,
        bpm: 120,
        key: "A minor",
        mode: "minor",
        tuning_frequency: 440,
        beats: [0, 0.5],
        sections: [{ start: 0, end: 2, label: "A" }],
        chords: [{ start: 0, end: 2, chord: "A:min" }],
      },
      jams_uri: stored.blob_uri,
      stems: await this.#stems(STEMS, `${id}/stems`, TRACK_SECONDS),
    };
  }

  async #generation({ generation_request_id: id, audio_file_id: audioFileId, target_stems: stems, parameters }) {
    return {
      generation_request_id: id,
      audio_file_id: audioFileId,
      status: "completed",
      stems: await this.#stems(stems, `${audioFileId}/generated/${id}`, parameters.duration_seconds),
      parameters: { ...parameters, random_seed: 7 },
    };
  }

  #stems(names, folder, seconds) {
    const { lengths = {} } = this.#faults;
    return Promise.all(
      names.map(async (name) => {
        const bytes = wav(seconds + (lengths[name] ?? 0));
        return { stem_type: name, ...(await this.#store(`${folder}/${name}.wav`, bytes)) };
      }),
    );
  }

  async #store(name, bytes) {
    const blob = this.#container.getBlockBlobClient(name);
    await blob.uploadData(bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { blob_uri: blob.url, size_bytes: bytes.length, sha256 };
  }
}
