/** The queue's promises, with tries that end when the test says so. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { AnalysisQueue } from "../src/analysisQueue.service.js";

const silent = { info() {}, warn() {}, error() {} };
const track = (id) => ({ id, title: id, path: `/music/${id}` });

/** A queue, and the tries it makes. */
function queueWith(options = {}, ready = async () => {}) {
  const tries = [];
  const abandoned = [];
  const run = (job, signal) =>
    new Promise((resolve, reject) => tries.push({ id: job.track.id, signal, resolve, reject }));
  const queue = new AnalysisQueue({
    run,
    ready,
    abandon: (job) => abandoned.push(job.track.id),
    options: { maxConcurrent: 1, maxRetries: 2, timeoutMs: 60_000, retryDelayMs: 1, ...options },
    log: silent,
  });
  const tried = async (count) => {
    while (tries.length < count) await turn();
    return tries[count - 1];
  };
  return { queue, tries, tried, abandoned };
}

test("the most urgent first, then the oldest", async () => {
  const { queue, tries, tried } = queueWith();
  queue.request(track("running"));
  await tried(1);
  for (const [id, priority] of [["c", "low"], ["b", "normal"], ["b2", "normal"], ["a", "high"]]) {
    queue.request(track(id), priority);
  }
  for (let count = 1; count <= 5; count++) (await tried(count)).resolve({});
  assert.deepEqual(tries.map(({ id }) => id), ["running", "a", "b", "b2", "c"]);
});

test("no more at once than allowed", async () => {
  const { queue, tries, tried } = queueWith({ maxConcurrent: 2 });
  const jobs = ["a", "b", "c"].map((id) => queue.request(track(id)));
  await tried(2);
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(tries.length, 2);
  tries[0].resolve({ bass: "/bass.wav" });
  assert.deepEqual((await jobs[0].ended).stems, { bass: "/bass.wav" });
  await tried(3);
  queue.close();
  assert.equal((await jobs[2].ended).status, "failed");
});

test("a track that is under way is not analysed twice, but becomes more urgent", async () => {
  const { queue, tried } = queueWith();
  queue.request(track("running"));
  await tried(1);
  const job = queue.request(track("a"), "low");
  assert.equal(queue.request(track("a"), "high"), job);
  assert.equal(job.priority, "high");
  assert.equal(queue.jobs.length, 2);
  queue.close();
});

test("what may go well later is tried again, so often and no more", async () => {
  const { queue, tried } = queueWith();
  const job = queue.request(track("a"));
  for (let count = 1; count <= 3; count++) {
    (await tried(count)).reject(Object.assign(new Error("the server is away"), { retryable: true }));
  }
  await job.ended;
  assert.deepEqual([job.status, job.attempts, job.error.message], ["failed", 3, "the server is away"]);
});

test("what will never go well is not", async () => {
  const { queue, tried } = queueWith();
  const job = queue.request(track("a"));
  (await tried(1)).reject(new Error("no music"));
  assert.deepEqual([(await job.ended).status, job.attempts], ["failed", 1]);
});

test("a try that takes too long is given up, and in the end its job", async () => {
  const { queue, tried, abandoned } = queueWith({ timeoutMs: 5, maxRetries: 1 });
  const job = queue.request(track("a"));
  await tried(2);
  await job.ended;
  assert.deepEqual([job.status, job.error.code], ["failed", "TIMEOUT"]);
  assert.ok((await tried(1)).signal.aborted);
  assert.deepEqual(abandoned, ["a"]);
});

test("nothing is tried while the server is away", async () => {
  let come;
  const { queue, tries, tried } = queueWith({}, () => new Promise((resolve) => (come = resolve)));
  queue.request(track("first"), "low");
  queue.request(track("second"), "high");
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(tries.length, 0);
  come();
  assert.equal((await tried(1)).id, "second");
  queue.close();
});
