import assert from "node:assert/strict";
import { test } from "node:test";

import { chordSymbol } from "../../mismo_grpc/gateway/static/js/format/chords.js";
import { jobTitle, stemLabel, titleOf } from "../../mismo_grpc/gateway/static/js/format/names.js";
import { fileSize } from "../../mismo_grpc/gateway/static/js/format/size.js";
import { ago, clock, roughly, spokenTime } from "../../mismo_grpc/gateway/static/js/format/time.js";

test("a clock counts minutes and seconds, and hours where there are any", () => {
  assert.deepEqual([0, 5, 59.99, 83, 3723].map((seconds) => clock(seconds)), ["0:00", "0:05", "0:59", "1:23", "1:02:03"]);
});

test("tenths are cut, not rounded, so that 60 never stands for a second", () => {
  assert.deepEqual([0.29, 59.99, 83.3].map((seconds) => clock(seconds, { tenths: true })), ["0:00.2", "0:59.9", "1:23.3"]);
});

test("a clock of no number is zero", () => {
  assert.deepEqual([clock(NaN), clock(-3), clock(Infinity)], ["0:00", "0:00", "0:00"]);
});

test("a position is said in whole words with the right plural", () => {
  assert.deepEqual([0, 1, 83, 3601].map(spokenTime), ["0 seconds", "1 second", "1 minute 23 seconds", "1 hour 1 second"]);
});

test("lengths of time have no false precision", () => {
  assert.deepEqual([0.2, 12.4, 180, 7200].map(roughly), ["1 s", "12 s", "3 min", "2 h"]);
  assert.deepEqual([3, 300, 260000].map(ago), ["just now", "5 min ago", "3 d ago"]);
});

test("file sizes have the unit that fits", () => {
  assert.deepEqual([0, 999, 1500, 5_000_000, 524_288_000].map(fileSize), ["0 B", "999 B", "1.5 kB", "5.0 MB", "524 MB"]);
});

test("a title has neither a path, an extension, nor characters that turn text around", () => {
  assert.equal(titleOf("C:\\Music\\My_Track (Mix).flac"), "My Track (Mix)");
  assert.equal(titleOf("evil\u202egpj.exe"), "evil gpj");
  assert.equal(titleOf(".mp3"), "Untitled");
  assert.equal([...titleOf(`${"é".repeat(300)}.wav`)].length, 120);
});

test("a job without a title is named after its source, or else after itself", () => {
  assert.equal(jobTitle({ jobId: "abc", labels: { title: "Song" } }), "Song");
  assert.equal(jobTitle({ jobId: "abc", source: { location: { case: "path", value: "/music/one.wav" } } }), "one");
  assert.equal(jobTitle({ jobId: "abc", source: { location: { case: "uploadId", value: "u1" } } }), "Job abc");
});

test("stems and chords are written as people write them", () => {
  assert.equal(stemLabel("no_vocals"), "No vocals");
  assert.deepEqual(["C:maj", "F#:min", "G:7", "A:min7", "Bb:maj7", "N"].map(chordSymbol), ["C", "F#m", "G7", "Am7", "Bbmaj7", ""]);
});
