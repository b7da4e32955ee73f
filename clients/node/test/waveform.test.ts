/** Waveforms while they grow, over a broken stream. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RunReplacedError, type WaveformPixels } from "mismo-client";

import { type ReadWaveformResponse } from "#dist/generated/mismo/analysis/v1/transfer_service.js";
import { type Range, RangeSet } from "#dist/transfer/range-set.js";

import { FakeServer } from "./support/fake-server.js";
import { JOB, RATE, RUN, STEMS, TOTAL_FRAMES } from "./support/fake-stems.js";

/** Pixels [start, end) of a stem: the lowest sample is minus the pixel, the highest the pixel. */
function ranges(...of: [stemIndex: number, start: number, end: number][]): ReadWaveformResponse {
  return {
    info: undefined,
    ranges: of.map(([stemIndex, startPixel, end]) => {
      const peaks = Buffer.alloc((end - startPixel) * 4);
      for (let pixel = startPixel; pixel < end; pixel++) {
        peaks.writeInt16LE(-pixel, (pixel - startPixel) * 4);
        peaks.writeInt16LE(pixel, (pixel - startPixel) * 4 + 2);
      }
      return { stemIndex, startPixel, peaks };
    }),
  };
}

function begin(runId = RUN): ReadWaveformResponse {
  const info = { jobId: JOB, runId, stemNames: STEMS, sampleRate: RATE, totalFrames: TOTAL_FRAMES };
  return { info: { ...info, framesPerPixel: 256, totalPixels: 235 }, ranges: [] };
}

const view = ({ stemName, startPixel, peaks }: WaveformPixels): [string, number, number[]] => [
  stemName,
  startPixel,
  [...peaks],
];

test("every pixel comes once, also where the stream is opened again", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const reading = client.readWaveform(JOB, { stems: STEMS, framesPerPixel: 512, follow: true });
  const first = reading.next();
  const call = await server.readWaveform.next();
  const { expectedRunId, stemNames, framesPerPixel, follow } = await call.received();
  assert.deepEqual([expectedRunId, stemNames, framesPerPixel, follow], ["", STEMS, 512, true]);
  // The playhead is at pixel 4.
  call.send(begin(), ranges([0, 4, 6], [1, 4, 6]));
  const { value } = await first;
  assert.deepEqual(view(value!), ["bass", 4, [-4, 4, -5, 5]]);
  assert.deepEqual([value!.waveform.sampleRate, value!.waveform.totalPixels], [RATE, 235]);
  assert.equal((await reading.next()).value?.stemName, "drums");
  call.cut();

  const rest: [string, number, number[]][] = [];
  const finished = (async () => {
    for await (const pixels of reading) rest.push(view(pixels));
  })();
  const second = await server.readWaveform.next();
  assert.equal((await second.received()).expectedRunId, RUN);
  second.send(begin(), ranges([0, 3, 7], [1, 4, 6]), ranges([1, 6, 7]));
  second.end();
  await finished;
  assert.deepEqual(rest, [
    ["bass", 3, [-3, 3]],
    ["bass", 6, [-6, 6]],
    ["drums", 6, [-6, 6]],
  ]);
});

test("another run's waveform is an error", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const reading = client.readWaveform(JOB, { expectedRunId: RUN });
  const refused = assert.rejects(reading.next(), RunReplacedError);
  (await server.readWaveform.next()).send(begin("run-2"));
  await refused;
});

test("a set of ranges is a set of numbers", () => {
  // A fixed sequence of pseudo-random ranges, against the numbers themselves.
  let seed = 1;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const numbers = (all: Range[]): number[] =>
    all.flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i));
  for (let sequence = 0; sequence < 200; sequence++) {
    const set = new RangeSet();
    const plain = new Set<number>();
    for (let i = 0; i < 12; i++) {
      const start = random(60);
      const end = start + random(12);
      const expected = numbers([[start, end]]).filter((number) => !plain.has(number));
      assert.deepEqual(numbers(set.add(start, end)), expected);
      for (const number of expected) plain.add(number);
    }
  }
});
