import assert from "node:assert/strict";
import { test } from "node:test";

import { takePositions } from "../../mismo_grpc/gateway/static/js/jobs/queue-positions.js";
import { UploadQueue } from "../../mismo_grpc/gateway/static/js/queue/upload-queue.js";
import { Stage } from "../../mismo_grpc/gateway/static/js/server/contract.js";
import { checkedChoices, DEFAULT_CHOICES, inWords, jobOptions } from "../../mismo_grpc/gateway/static/js/server/job-options.js";
import { modelFor, refusalOf } from "../../mismo_grpc/gateway/static/js/server/offer.js";
import { explained } from "../../mismo_grpc/gateway/static/js/server/remedies.js";
import { recall, remember, uuid } from "../../mismo_grpc/gateway/static/js/server/stored.js";

const STEMS = ["drums", "bass", "other", "vocals"];

/** A server whose answers the test gives. */
function gatedServer() {
  const started = [];
  return {
    started,
    requests: [],
    labels: { client: "web" },
    errorOf: (cause) => cause,
    upload(file, options) {
      return new Promise((resolve, reject) => started.push({ name: file.name, options, resolve, reject }));
    },
    async submit(request) {
      this.requests.push(request);
      return { jobId: `job-${this.requests.length}` };
    },
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const file = (name) => ({ name, size: 100 });

test("two files are uploaded at a time, and the most important of the others next", async () => {
  const server = gatedServer();
  const queue = new UploadQueue(server);
  for (const [name, priority] of [["a", 2], ["b", 2], ["c", 1], ["d", 3]]) queue.add(file(name), {}, priority);
  assert.deepEqual(server.started.map(({ name }) => name), ["a", "b"]);
  server.started[0].resolve("upload-a");
  await settled();
  assert.deepEqual(server.started.map(({ name }) => name), ["a", "b", "d"]);
  assert.equal(server.requests[0].source.location.value, "upload-a");
  assert.deepEqual(server.requests[0].labels, { client: "web", title: "a" });
  assert.equal(queue.uploads.length, 3);
});

test("a changed priority counts for what waits, and goes with the job", async () => {
  const server = gatedServer();
  const queue = new UploadQueue(server);
  const [, , , last] = ["a", "b", "c", "d"].map((name) => queue.add(file(name), {}, 2));
  queue.prioritise(last, 3);
  server.started[0].resolve("u");
  await settled();
  assert.equal(server.started[2].name, "d");
  server.started[2].resolve("v");
  await settled();
  assert.equal(server.requests[1].priority, 3);
});

test("progress and a lost network are told; a failure stays until it is tried again", async () => {
  const server = gatedServer();
  const queue = new UploadQueue(server);
  const upload = queue.add(file("a"), {}, 2);
  server.started[0].options.onProgress(40, 100, "waiting");
  assert.deepEqual([upload.state, upload.sent], ["offline", 40]);
  server.started[0].options.onProgress(60, 100, "sending");
  assert.equal(upload.state, "sending");
  server.started[0].reject({ reason: "UNSUPPORTED_AUDIO", message: "no audio" });
  await settled();
  assert.deepEqual([upload.state, upload.error.reason, queue.busy], ["failed", "UNSUPPORTED_AUDIO", false]);
  const before = upload.requestId;
  queue.retry(upload);
  assert.notEqual(upload.requestId, before);
  assert.equal(server.started.length, 2);
});

test("a removed file is aborted, makes no job, and lets the next one go", async () => {
  const server = gatedServer();
  const queue = new UploadQueue(server);
  const [first] = ["a", "b", "c"].map((name) => queue.add(file(name), {}, 2));
  queue.remove(first);
  assert.ok(server.started[0].options.signal.aborted);
  server.started[0].reject(new Error("aborted"));
  await settled();
  assert.equal(server.started[2].name, "c");
  assert.equal(queue.uploads.length, 2);
  assert.equal(server.requests.length, 0);
});

test("the options of a job are what was chosen, as far as the server offers it", () => {
  const server = { model: "", stemNames: STEMS, offered: [Stage.STEMS, Stage.CHORDS] };
  assert.deepEqual(jobOptions({ ...DEFAULT_CHOICES, analyses: ["rhythm", "chords"] }, server), {
    stages: [Stage.STEMS, Stage.CHORDS], stems: { model: "", stemNames: [], twoStems: "", output: { encoding: 1 } },
  });
  const karaoke = jobOptions({ ...DEFAULT_CHOICES, stems: "two", twoStems: "vocals", depth: "float" }, server).stems;
  assert.deepEqual([karaoke.twoStems, karaoke.output.encoding], ["vocals", 3]);
  const some = jobOptions({ ...DEFAULT_CHOICES, stems: "some", someStems: ["bass", "kazoo"] }, server).stems;
  assert.deepEqual(some.stemNames, ["bass"]);
  assert.equal(jobOptions({ ...DEFAULT_CHOICES, stems: "two", twoStems: "kazoo" }, server).stems.twoStems, "");
});

test("remembered choices of a wrong kind are replaced by the defaults", () => {
  assert.deepEqual(checkedChoices({ model: 3, stems: "none", depth: "8", analyses: [1], someStems: "x" }), DEFAULT_CHOICES);
  assert.equal(checkedChoices({ depth: "24" }).depth, "24");
  assert.equal(inWords({ ...DEFAULT_CHOICES, stems: "two" }, "mismo_lite"), "mismo_lite · vocals and the rest · 16 bit");
});

test("a model that is not installed is replaced, and the page says so", () => {
  const models = [{ name: "mismo_lite", state: 1 }, { name: "htdemucs", state: 3, isDefault: true, reason: "no weights" }];
  assert.deepEqual(modelFor(models, ""), { model: models[0], note: "htdemucs is not installed: mismo_lite is used." });
  assert.deepEqual(modelFor(models, "mismo_lite"), { model: models[0], note: "" });
  assert.match(modelFor([models[1]], "").note, /no model/);
});

test("empty and too large files are refused before they are sent", () => {
  const sizeText = (bytes) => `${bytes} B`;
  assert.equal(refusalOf({ name: "a", size: 5 }, 10, sizeText), "");
  assert.match(refusalOf({ name: "a", size: 0 }, 10, sizeText), /empty/);
  assert.match(refusalOf({ name: "a", size: 11 }, 10, sizeText), /11 B; this server takes at most 10 B/);
});

test("an error says what happened and what to do", () => {
  assert.equal(explained({ reason: "QUEUE_FULL", message: "the queue is full" }), "The queue is full. Wait until a track is done, then try again.");
  assert.equal(explained({ reason: "NEW", message: "Odd.", retryable: true }), "Odd. Try again in a moment.");
});

test("choices are remembered for the page even without storage", () => {
  remember("test", { a: 1 });
  assert.deepEqual(recall("test", {}), { a: 1 });
  assert.equal(recall("test", 7), 7);
  assert.match(uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("queued jobs take their newest positions, by run", () => {
  const job = { jobId: "a", runId: "1", progress: { queuePosition: 1 } };
  const rerun = { jobId: "b", runId: "2", progress: { queuePosition: 2 } };
  const listed = [
    { jobId: "a", runId: "1", progress: { queuePosition: 3 } },
    { jobId: "b", runId: "older", progress: { queuePosition: 1 } },
  ];
  assert.equal(takePositions([job, rerun], listed), true);
  assert.deepEqual([job.progress.queuePosition, rerun.progress.queuePosition], [3, 2]);
  assert.equal(takePositions([job, rerun], listed), false);
});
