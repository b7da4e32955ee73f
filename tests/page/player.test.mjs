import assert from "node:assert/strict";
import { test } from "node:test";

import { actionOf } from "../../mismo_grpc/gateway/static/js/player/keyboard.js";
import { loopBetween, loopOfBeats, scaled } from "../../mismo_grpc/gateway/static/js/player/loop-region.js";
import { Looper } from "../../mismo_grpc/gateway/static/js/player/looper.js";
import { stateLine } from "../../mismo_grpc/gateway/static/js/track/state-line.js";

const BEATS = Array.from({ length: 40 }, (_, index) => 0.5 + index * 0.5);

test("a loop goes to the nearest beats, whichever end was set first", () => {
  assert.deepEqual(loopBetween(4.6, 2.1, 60, BEATS), { start: 2, end: 4.5 });
});

test("a loop inside one beat is one beat long", () => {
  assert.deepEqual(loopBetween(2.02, 2.1, 60, BEATS), { start: 2, end: 2.5 });
});

test("a loop stays where it was drawn when there are no beats near", () => {
  assert.deepEqual(loopBetween(40.25, 41.75, 60, BEATS), { start: 40.25, end: 41.75 });
  assert.deepEqual(loopBetween(40.25, 41.75, 60), { start: 40.25, end: 41.75 });
});

test("a loop stays inside the track and is never empty", () => {
  assert.deepEqual(loopBetween(-5, 90, 60), { start: 0, end: 60 });
  assert.equal(loopBetween(5, 5.001, 60), null);
  assert.equal(loopBetween(70, 80, 60), null);
});

test("a loop of beats begins with the beat that sounds now", () => {
  assert.deepEqual(loopOfBeats(2.3, 8, 60, BEATS), { start: 2, end: 6 });
  assert.deepEqual(loopOfBeats(10, 8, 60), { start: 10, end: 14 });
});

test("half and twice a loop keep its start", () => {
  assert.deepEqual(scaled({ start: 2, end: 6 }, 0.5, 60), { start: 2, end: 4 });
  assert.deepEqual(scaled({ start: 50, end: 58 }, 2, 60), { start: 50, end: 60 });
});

test("in and out make a loop that is on; a toggle keeps the points", () => {
  const looper = new Looper(() => ({ duration: 60, beats: BEATS }));
  let changes = 0;
  looper.addEventListener("change", () => (changes += 1));
  looper.setIn(2.1);
  looper.setOut(6.1);
  assert.deepEqual(looper.playing, { start: 2, end: 6 });
  looper.toggle(3);
  assert.equal(looper.playing, null);
  assert.deepEqual(looper.region, { start: 2, end: 6 });
  looper.toggle(3);
  assert.deepEqual(looper.playing, { start: 2, end: 6 });
  looper.clear();
  assert.equal(looper.region, null);
  assert.equal(changes, 5);
});

/** What a key does, as the names of the calls. */
function pressed(event) {
  const calls = [];
  const record = (name) => (...values) => calls.push([name, ...values].join(" "));
  const names = ["toggle", "skip", "start", "mute", "solo", "loopIn", "loopOut", "loopToggle", "volume", "zoom", "follow"];
  actionOf({ code: "", shiftKey: false, target: null, ...event }, Object.fromEntries(names.map((name) => [name, record(name)])))?.();
  return calls.join();
}

test("keys play, seek, mute, solo and loop", () => {
  globalThis.HTMLElement ??= class {};
  assert.equal(pressed({ key: " " }), "toggle");
  assert.equal(pressed({ key: "ArrowLeft" }), "skip -5");
  assert.equal(pressed({ key: "ArrowRight", shiftKey: true }), "skip 1");
  assert.equal(pressed({ key: "2", code: "Digit2" }), "mute 1");
  assert.equal(pressed({ key: "!", code: "Digit1", shiftKey: true }), "solo 0");
  assert.equal(pressed({ key: "L" }), "loopToggle");
  assert.equal(pressed({ key: "Home" }), "start");
  assert.equal(pressed({ key: "x" }), "");
});

test("the state line says when the sound comes, and why it does not yet", () => {
  const job = { state: 2, progress: { segmentsDone: 3, segmentsTotal: 9, eta: { seconds: 20n, nanos: 0 } } };
  const player = { state: "buffering", currentTime: 83, notReady: { reason: "separating", expectedSeconds: 2.2 } };
  assert.equal(stateLine({ job, connection: "open", player }).text, "Separating around 1:23: sound in about 2 s");
  player.notReady = { reason: "waiting-for-device" };
  assert.equal(stateLine({ job, connection: "open", player }).text, "Other segments go first");
  player.state = "playing";
  assert.equal(stateLine({ job, connection: "open", player }).text, "Separating: 3 of 9 segments, 20 s left");
  assert.equal(stateLine({ job: { state: 1, progress: { queuePosition: 2 } }, connection: "open" }).text, "In the queue, number 2");
});

test("a failed job says what to do", () => {
  const job = { state: 4, error: { reason: "NO_AUDIO_STREAM", message: "the file is a picture" } };
  const { text, busy } = stateLine({ job, connection: "open" });
  assert.match(text, /^The file is a picture\. Choose a file with sound/);
  assert.equal(busy, false);
});

test("while the browser plays nothing without a click, the state line asks for one", () => {
  const { text, busy } = stateLine({ job: { state: 3 }, connection: "open", player: { state: "buffering", currentTime: 0 }, silenced: true });
  assert.match(text, /Press Play/);
  assert.equal(busy, false);
});

test("the slider of the position takes the keys of any slider", () => {
  class Slider extends globalThis.HTMLElement {
    matches(selector) {
      return selector.includes('[role="slider"]');
    }
  }
  const target = new Slider();
  assert.deepEqual(["PageUp", "ArrowDown", "End", "ArrowLeft"].map((key) => pressed({ key, target })), [
    "skip 30", "skip -5", "skip Infinity", "skip -5",
  ]);
});
