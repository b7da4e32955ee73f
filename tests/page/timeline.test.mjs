import assert from "node:assert/strict";
import { test } from "node:test";

import { firstFrom, nearest, spanAt, tickStep } from "../../mismo_grpc/gateway/static/js/timeline/beats.js";
import { framesPerPixelFor, Peaks } from "../../mismo_grpc/gateway/static/js/timeline/peaks.js";
import { RangeSet } from "../../mismo_grpc/gateway/static/js/timeline/ranges.js";
import { readyShare, strideOf, workedOn } from "../../mismo_grpc/gateway/static/js/timeline/segments.js";
import { Viewport } from "../../mismo_grpc/gateway/static/js/timeline/viewport.js";

/** A range set by its definition: one flag for each position. */
function flagsOf(ranges, length) {
  return Array.from({ length }, (_, at) => ranges.some(({ start, end }) => start <= at && at < end));
}

test("ranges stay sorted, separate and not adjacent, and hold what was added, in any order", () => {
  let seed = 7;
  const random = (bound) => (seed = (seed * 48271) % 2147483647) % bound;
  for (let round = 0; round < 300; round += 1) {
    const added = Array.from({ length: 12 }, () => random(40)).map((start) => ({ start, end: start + random(9) }));
    const set = new RangeSet(added);
    assert.deepEqual(flagsOf(set.ranges, 50), flagsOf(added, 50));
    set.ranges.slice(1).forEach((range, index) => assert.ok(range.start > set.ranges[index].end));
    const flags = flagsOf(added, 50);
    flags.forEach((flag, at) => assert.equal(set.at(at) !== undefined, flag, `at ${at}`));
    assert.deepEqual(flagsOf(set.gaps(5, 45), 50), flags.map((flag, at) => !flag && at >= 5 && at < 45));
    assert.equal(set.length, flags.filter(Boolean).length);
  }
});

test("a range is covered only as a whole", () => {
  const set = new RangeSet([{ start: 0, end: 10 }, { start: 12, end: 20 }]);
  assert.ok(set.covers(2, 10));
  assert.ok(!set.covers(2, 11));
  assert.ok(!set.covers(10, 12));
});

test("the server works on what is missing from the playhead on, and then on what is missing before it", () => {
  const ready = new RangeSet([{ start: 0, end: 100 }, { start: 300, end: 500 }]);
  assert.deepEqual(workedOn(ready, 320, 800, 100), { start: 500, end: 600 });
  ready.add(500, 800);
  assert.deepEqual(workedOn(ready, 320, 800, 100), { start: 100, end: 200 });
  ready.add(100, 300);
  assert.equal(workedOn(ready, 320, 800, 100), undefined);
});

test("the last segment ends with the track", () => {
  assert.deepEqual(workedOn(new RangeSet([{ start: 0, end: 700 }]), 0, 750, 100), { start: 700, end: 750 });
  assert.equal(readyShare(new RangeSet([{ start: 0, end: 375 }]), 750), 0.5);
  assert.equal(readyShare(new RangeSet(), 0), 0);
});

test("the stride is the segment without its overlap", () => {
  assert.equal(strideOf(1000, undefined), 750);
  assert.equal(strideOf(1000, 0), 1000);
  assert.equal(strideOf(0, 0.5), 1);
});

test("peaks that come in ranges and in any order give the same columns as all at once", () => {
  const count = 1000;
  const high = Int16Array.from({ length: count }, (_, at) => (at * 7919) % 20000);
  const low = high.map((value) => -value / 2);
  const whole = new Peaks(count);
  whole.write(0, low, high);
  const parts = new Peaks(count);
  for (const start of [600, 0, 200, 800, 400]) parts.write(start, low.slice(start, start + 200), high.slice(start, start + 200));
  for (const [start, end] of [[0, 1], [3.2, 9.7], [100, 900], [0, 1000], [999, 1000]]) {
    const [a, b] = [{}, {}];
    whole.column(start, end, a);
    parts.column(start, end, b);
    assert.deepEqual(a, b);
  }
  assert.deepEqual(parts.ready.ranges, [{ start: 0, end: count }]);
});

test("a wide column has the greatest peak of its pixels", () => {
  const peaks = new Peaks(640);
  const high = new Int16Array(640);
  high[333] = 16384;
  peaks.write(0, new Int16Array(640), high);
  const column = { low: 0, high: 0, body: 0 };
  peaks.column(0, 640, column);
  assert.equal(column.high, 0.5);
  peaks.column(320, 352, column);
  assert.equal(column.high, 0.5);
  peaks.column(0, 320, column);
  assert.equal(column.high, 0);
  assert.equal(peaks.greatest, 16384);
});

test("peaks outside the track are cut off", () => {
  const peaks = new Peaks(10);
  peaks.write(8, new Int16Array(5), new Int16Array(5).fill(9));
  peaks.write(20, new Int16Array(5), new Int16Array(5));
  assert.deepEqual(peaks.ready.ranges, [{ start: 8, end: 10 }]);
});

test("a long track has coarser peaks, in multiples of 256 frames", () => {
  assert.equal(framesPerPixelFor(44100 * 240), 256);
  const frames = framesPerPixelFor(44100 * 7200);
  assert.equal(frames % 256, 0);
  assert.ok((44100 * 7200) / frames <= 400_000);
});

test("a zoom keeps the time under the pointer where it is", () => {
  const view = new Viewport(300);
  view.resize(1000);
  view.centreOn(60);
  const time = view.timeAt(250);
  view.zoom(3, 250);
  assert.ok(Math.abs(view.timeAt(250) - time) < 1e-9);
  assert.ok(Math.abs(view.xOf(time) - 250) < 1e-6);
});

test("the view is never wider than the track, and never moves off it", () => {
  const view = new Viewport(100);
  view.resize(1000);
  view.zoom(0.0001);
  assert.equal(view.span, 100);
  view.zoom(10);
  view.moveTo(1e9);
  assert.equal(view.centre, 100);
  view.moveTo(-1e9);
  assert.equal(view.centre, 0);
});

test("with less motion the view turns pages", () => {
  const view = new Viewport(100);
  view.resize(1000);
  view.pixelsPerSecond = 100;
  view.left = 0;
  view.pageTo(9.9);
  assert.equal(view.left, 0);
  view.pageTo(10);
  assert.ok(view.left > 9 && view.left <= 10);
});

test("positions among beats, sections and chords are found", () => {
  const beats = [0.5, 1, 1.5, 2];
  assert.equal(firstFrom(beats, 1), 1);
  assert.equal(firstFrom(beats, 3), 4);
  assert.equal(nearest(beats, 1.2), 1);
  assert.equal(nearest(beats, 9), 2);
  assert.equal(nearest([], 1.2), 1.2);
  const spans = [{ start: 0, end: 2, label: "A" }, { start: 2, end: 5, label: "B" }];
  assert.equal(spanAt(spans, 2)?.label, "B");
  assert.equal(spanAt(spans, 5), undefined);
});

test("ticks of the ruler keep their distance at each zoom", () => {
  for (const pixels of [0.05, 0.5, 4, 40, 400]) assert.ok(tickStep(pixels) * pixels >= 72);
});
