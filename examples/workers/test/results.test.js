/** What is read of results: headers of WAV files, JAMS, lengths. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { checkLengths, jamsSummary, wavFormat } from "../src/results.js";
import { wav } from "./support/fakeWorker.js";

test("the format of a WAV file is read, also behind other chunks", () => {
  const plain = wav(1);
  const expected = { frames: 8000, rate: 8000, channels: 2, seconds: 1 };
  assert.deepEqual(wavFormat(plain.subarray(0, 64), plain.length, "x.wav"), expected);
  const list = Buffer.from("LIST\x03\x00\x00\x00abc\x00", "latin1");
  const longer = Buffer.concat([plain.subarray(0, 12), list, plain.subarray(12)]);
  assert.deepEqual(wavFormat(longer, longer.length, "x.wav"), expected);
});

test("a file that is no complete WAV file is refused by its name", () => {
  const whole = wav(1);
  assert.throws(() => wavFormat(Buffer.from("<html>"), 6, "x.wav"), /x\.wav is no WAV file/);
  assert.throws(() => wavFormat(whole, whole.length - 1, "x.wav"), /x\.wav ends before its audio does/);
  assert.throws(() => wavFormat(whole.subarray(0, 30), whole.length, "x.wav"), /x\.wav has no audio/);
  const noRate = Buffer.from(whole);
  noRate.writeUInt32LE(0, 24);
  assert.throws(() => wavFormat(noRate, noRate.length, "x.wav"), /x\.wav has no audio/);
});

test("the observations of a JAMS document are counted by namespace", () => {
  const annotations = [{ namespace: "beat", data: [1, 2] }, { namespace: "beat", data: [3] }, { namespace: "tempo" }];
  const document = { annotations, file_metadata: { duration: 3 } };
  assert.deepEqual(jamsSummary(Buffer.from(JSON.stringify(document))), { seconds: 3, counts: { beat: 3, tempo: 0 } });
  assert.throws(() => jamsSummary(Buffer.from("{")), /no JSON/);
  for (const wrong of [null, {}, { annotations }, { annotations, file_metadata: { duration: 0 } }]) {
    assert.throws(() => jamsSummary(Buffer.from(JSON.stringify(wrong))), /no annotations, or no duration/);
  }
});

test("stems of one length pass if it is the wanted one", () => {
  checkLengths({ a: { frames: 8000, seconds: 1 }, b: { frames: 8000, seconds: 1 } }, 1.05);
  assert.throws(() => checkLengths({ a: { frames: 8000, seconds: 1 } }, 1.2), /a lasts 1\.00 s/);
});
