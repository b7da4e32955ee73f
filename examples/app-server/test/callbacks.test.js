/** What callbacks may and may not do. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";

import { AnalysisCallbacks } from "../src/analysisCallback.service.js";
import { StemFiles } from "../src/stemFiles.service.js";

const silent = { info() {}, warn() {}, error() {} };
const WAV = Buffer.from("RIFF and some sound");

function callbacksFor(t, { secret = "", now, keepMs = 60_000 } = {}) {
  const stemFiles = new StemFiles({ keepMs, log: silent });
  t.after(() => stemFiles.close());
  return new AnalysisCallbacks({ secret, stemFiles, log: silent, now });
}

function stemsCallback(stems, mode = "callback") {
  return { job_id: "job", stage: "stems", status: "completed", data: { delivery_mode: mode, stems } };
}

const id = (value) => ({ "x-mismo-callback-id": value });

test("base64 becomes files of the same bytes; null is no stem", async (t) => {
  const callbacks = callbacksFor(t);
  const { stems } = callbacks.expect("job", "callback");
  const body = stemsCallback({ bass: WAV.toString("base64"), vocals: null });
  assert.equal(await callbacks.receive(id("1"), body), "accepted");
  const paths = await stems;
  assert.deepEqual(Object.keys(paths), ["bass"]);
  assert.deepEqual(readFileSync(paths.bass), WAV);
});

test("the same callback twice, even at once, is taken once", async (t) => {
  const callbacks = callbacksFor(t);
  callbacks.expect("job", "callback");
  const body = stemsCallback({ bass: WAV.toString("base64") });
  const both = await Promise.all([callbacks.receive(id("1"), body), callbacks.receive(id("1"), body)]);
  assert.deepEqual(both, ["accepted", "duplicate"]);
  assert.equal(await callbacks.receive(id("1"), body), "duplicate");
});

test("one that could not be stored may come again", async (t) => {
  const callbacks = callbacksFor(t);
  const { stems } = callbacks.expect("job", "callback");
  for (const broken of ["UklG*", "", WAV.subarray(1).toString("base64"), 7]) {
    await assert.rejects(callbacks.receive(id("1"), stemsCallback({ bass: broken })), /no WAV file in base64/);
  }
  await callbacks.receive(id("1"), stemsCallback({ bass: WAV.toString("base64") }));
  assert.deepEqual(readFileSync((await stems).bass), WAV);
});

test("a stem's name leads nowhere else", async (t) => {
  const callbacks = callbacksFor(t);
  callbacks.expect("job", "callback");
  for (const name of ["../bass", "a/b", "..", "", "__proto__", "a\0b", "x".repeat(65)]) {
    const stems = JSON.parse(`{${JSON.stringify(name)}: "${WAV.toString("base64")}"}`);
    await assert.rejects(callbacks.receive({}, stemsCallback(stems)), /is no name of a stem/, name);
  }
});

test("stems are removed after a while, and half-written ones at once", async (t) => {
  const callbacks = callbacksFor(t, { keepMs: 1 });
  const { stems } = callbacks.expect("job", "callback");
  await assert.rejects(callbacks.receive({}, stemsCallback({ bass: WAV.toString("base64"), drums: "?" })));
  await callbacks.receive(id("1"), stemsCallback({ bass: WAV.toString("base64") }));
  const root = dirname(dirname((await stems).bass));
  while (readdirSync(root).length > 0) await new Promise((resolve) => setTimeout(resolve, 1));
});

test("features are passed on beside the stems, and without them the stems come all the same", async (t) => {
  const callbacks = callbacksFor(t);
  const features = [];
  const { stems } = callbacks.expect("job", "path", (found) => features.push(found));
  const found = { job_id: "job", stage: "basic_features", status: "completed", data: { tempo: 120, key: "F#" } };
  assert.equal(await callbacks.receive(id("1"), found), "accepted");
  assert.deepEqual(features, [found.data]);
  const failed = { ...found, status: "failed", data: undefined, error: { code: "X", message: "no beat" } };
  assert.equal(await callbacks.receive(id("2"), failed), "ignored");
  assert.equal(await callbacks.receive(id("3"), { ...found, job_id: "nobody's" }), "ignored");
  await assert.rejects(callbacks.receive(id("4"), { ...found, data: null }), { status: 400 });
  assert.equal(features.length, 1);
  await callbacks.receive(id("5"), stemsCallback({ bass: "/jobs/job/stems/bass.wav" }, "path"));
  assert.deepEqual(await stems, { bass: "/jobs/job/stems/bass.wav" });
});

test("paths are passed on as they are, if they are whole", async (t) => {
  const callbacks = callbacksFor(t);
  const { stems } = callbacks.expect("job", "path");
  await assert.rejects(callbacks.receive({}, stemsCallback({ bass: "bass.wav" }, "path")), { status: 400 });
  await assert.rejects(callbacks.receive({}, stemsCallback({ bass: WAV.toString("base64") })), { status: 400 });
  await callbacks.receive({}, stemsCallback({ bass: "/jobs/job/stems/bass.wav", other: null }, "path"));
  assert.deepEqual(await stems, { bass: "/jobs/job/stems/bass.wav" });
});

test("a failed job's reason reaches whoever waits", async (t) => {
  const callbacks = callbacksFor(t);
  const { stems } = callbacks.expect("job", "path");
  const error = { code: "CORRUPT_AUDIO", message: "nothing in it" };
  await callbacks.receive({}, { job_id: "job", stage: "stems", status: "failed", error });
  await assert.rejects(stems, { code: "CORRUPT_AUDIO", message: "nothing in it" });
});

test("what nobody waits for is refused for good, what is no callback too", async (t) => {
  const callbacks = callbacksFor(t);
  const { forget } = callbacks.expect("job", "path");
  forget();
  await assert.rejects(callbacks.receive({}, stemsCallback({}, "path")), { status: 410 });
  for (const body of [undefined, null, {}, [], { job_id: 1 }]) {
    await assert.rejects(callbacks.receive({}, body), { status: 400 });
  }
  assert.equal(await callbacks.receive({}, { ...stemsCallback({}), stage: "characteristics" }), "ignored");
});

test("with a secret only what is signed, whole and recent is genuine", (t) => {
  const callbacks = callbacksFor(t, { secret: "s3cret", now: () => 1_000_000_000 });
  const body = Buffer.from('{"job_id": "job"}');
  const headers = (time, secret = "s3cret") => ({
    "x-mismo-timestamp": time,
    "x-mismo-signature": `sha256=${createHmac("sha256", secret).update(`${time}.`).update(body).digest("hex")}`,
  });
  const genuine = headers("1000000");
  callbacks.checkHeaders(genuine);
  callbacks.checkSignature(genuine, body);
  assert.throws(() => callbacks.checkSignature(genuine, Buffer.from("{}")), { status: 401 });
  assert.throws(() => callbacks.checkSignature(headers("1000000", "guess"), body), { status: 401 });
  const cut = { ...genuine, "x-mismo-signature": "sha256=" };
  assert.throws(() => callbacks.checkSignature(cut, body), { status: 401 });
  for (const time of ["999000", "1001000", "", "now"]) {
    assert.throws(() => callbacks.checkHeaders(headers(time)), { status: 401 });
  }
  assert.throws(() => callbacks.checkHeaders({}), { status: 401 });
});
