/** What a StemPlayer sends to a server, and how it handles the answers: credit, runs, checksums, waits. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ChecksumError,
  type NotReady,
  NotReadyReason,
  RunReplacedError,
  status,
  type StemStreamOptions,
} from "mismo-client";

import { StreamStemsResponse } from "#dist/generated/mismo/analysis/v1/transfer_service.js";

import { nextCall, play, read, readAll } from "./support/fake-player.js";
import { FakeServer } from "./support/fake-server.js";
import { chunk, ending, info, JOB, round, RUN, seekApplied, sent, TOTAL_FRAMES } from "./support/fake-stems.js";

const WINDOW = 1 << 20;
const FRAME_BYTES = 4;

test("the first message says what is asked for, in seconds where that is how it was asked", async (context) => {
  const { open } = await play(context, { startTime: 1.25, stems: ["bass"], chunkBytes: 8192, creditFrames: 20_000 });
  assert.deepEqual(open.start, { $case: "startTime", value: { seconds: 1, nanos: 250_000_000 } });
  assert.deepEqual(
    [open.jobId, open.expectedRunId, open.stemNames, open.chunkBytes, open.generation, open.resumePoints],
    [JOB, "", ["bass"], 8192, 0, []],
  );
  assert.deepEqual(open.credit, { bytes: WINDOW, frames: 20_000 });
});

test("wrong options are told at once, by name", async (context) => {
  const { client } = await FakeServer.start(context);
  const refused = (options: StemStreamOptions, message: RegExp): void =>
    assert.throws(() => client.streamStems(JOB, options), (error) => {
      return error instanceof RangeError && message.test(error.message);
    });
  refused({ startFrame: 0.5 }, /startFrame/);
  refused({ startFrame: -1 }, /startFrame/);
  refused({ startTime: NaN }, /seconds/);
  refused({ startTime: 1, startFrame: 1 }, /exclude/);
  refused({ creditBytes: 1000 }, /creditBytes must be at least 65536/);
  refused({ creditFrames: 4096 }, /creditFrames must be at least 8192/);
  assert.throws(() => client.streamStems(JOB).seek(1.5), RangeError);
});

test("the format tells the run and the bounds of a chunk", async (context) => {
  const { call, format } = await play(context);
  call.send(info());
  const { runId, model, bitsPerSample, maxChunkFrames, segmentFrames, idleTimeout } = await format;
  assert.deepEqual(
    { runId, model, bitsPerSample, maxChunkFrames, segmentFrames, idleTimeout },
    {
      ...{ runId: RUN, model: "mismo_lite", bitsPerSample: 16 },
      ...{ maxChunkFrames: 16_384, segmentFrames: 30_000, idleTimeout: 300 },
    },
  );
});

test("a broken stream goes on in its run and generation, where each stem stopped", async (context) => {
  const { server, player, call } = await play(context, { startTime: 1 });
  call.send(info(), chunk(0, 10_000, 20_000), chunk(1, 10_000, 20_000), chunk(0, 20_000, 30_000));
  for (let i = 0; i < 3; i++) await read(player);
  const seeking = player.seek(40_000);
  assert.equal(sent("seek", await call.received()).generation, 1);
  call.send(seekApplied(1, 40_000), chunk(0, 40_000, 50_000, 1));
  assert.equal((await read(player)).generation, 1);
  assert.deepEqual(await seeking, { generation: 1, startFrame: 40_000 });
  call.cut();

  const next = read(player);
  const second = await nextCall(server);
  const { expectedRunId, generation, start, resumePoints } = second.open;
  assert.deepEqual([expectedRunId, generation], [RUN, 1]);
  assert.deepEqual(start, { $case: "startFrame", value: 40_000 });
  assert.deepEqual(resumePoints, [{ stemName: "bass", startFrame: 50_000 }]);
  second.call.send(info(), chunk(1, 40_000, 50_000, 1));
  assert.equal((await next).stemName, "drums");

  // The next seek counts on.
  void player.seek(0);
  const seek = await second.call.received();
  assert.equal(sent("seek", seek).generation, 2);
});

test("another run's audio never comes: neither where the server refuses, nor where it does not", async (context) => {
  const { server, player, call } = await play(context);
  call.send(info(), ...round(0, 1000));
  await read(player);
  await read(player);
  call.cut();
  const refused = assert.rejects(player.next(), (error) => {
    return error instanceof RunReplacedError && error.code === status.FAILED_PRECONDITION;
  });
  const second = await nextCall(server);
  assert.equal(second.open.expectedRunId, RUN);
  second.call.fail(status.FAILED_PRECONDITION, "RUN_REPLACED");
  await refused;

  const unchecked = assert.rejects(player.next(), RunReplacedError);
  const third = await nextCall(server);
  third.call.send(info("run-2"), ...round(1000, 2000));
  await unchecked;
});

test("a run that is expected from the start is asked for from the start", async (context) => {
  const { open } = await play(context, { expectedRunId: "run-0" });
  assert.equal(open.expectedRunId, "run-0");
});

test("bytes go back as they are taken, and frames with the stem that is furthest behind", async (context) => {
  const { player, call } = await play(context, { creditBytes: 65_536, creditFrames: 8192 });
  call.send(info(), chunk(0, 0, 4096), chunk(1, 0, 4096), chunk(0, 4096, 8192));
  for (let i = 0; i < 3; i++) await read(player);
  // Two of the three chunks are taken: 4096 frames of both stems.
  assert.deepEqual(sent("credit", await call.received()), { bytes: 32_768, frames: 4096 });
  // Then the bass is ahead: its frames wait for the drums.
  const next = player.next();
  call.send(chunk(1, 4096, 8192));
  await next;
  const last = player.next();
  assert.deepEqual(sent("credit", await call.received()), { bytes: 32_768, frames: 4096 });
  player.close();
  await last;
});

test("frames are counted from where the audio begins, which FLAC puts before what was asked for", async (context) => {
  const { player, call } = await play(context, { startFrame: 5000, creditFrames: 8192 });
  call.send(info(), ...round(4096, 8192), chunk(0, 8192, 12_288));
  for (let i = 0; i < 3; i++) await read(player);
  // Not before both stems were taken; then all of their first chunk.
  assert.equal(sent("credit", await call.received()).frames, 4096);
  assert.equal(call.unread, 0);
});

test("a server that waits for credit gets all that is due", async (context) => {
  const { player, call } = await play(context);
  call.send(info(), chunk(0, 0, 1000));
  await read(player);
  const next = player.next();
  call.send(
    StreamStemsResponse.fromPartial({
      message: { $case: "awaitingCredit", value: { generation: 0, missingBytes: 1, missingFrames: 0 } },
    }),
  );
  assert.deepEqual(sent("credit", await call.received()), { bytes: 1000 * FRAME_BYTES, frames: 0 });
  call.send(chunk(0, 1000, 2000));
  await next;
});

test("what came must fit the SHA-256 of what was sent, call by call", async (context) => {
  const { server, player, call } = await play(context);
  call.send(info(), ...round(0, 40_000));
  await read(player);
  await read(player);
  call.cut();
  const last = readAll(player);
  const second = await nextCall(server);
  // Of this call alone: from frame 40000 on.
  second.call.send(info(), ...round(40_000, TOTAL_FRAMES), ...ending(40_000));
  assert.equal((await last).length, 2);
});

test("a stem that does not fit its SHA-256 is an error that nothing repeats", async (context) => {
  const { player, call, waits } = await play(context);
  // A chunk is missing at the beginning, where no position betrays it.
  call.send(info(), ...round(10_000, TOTAL_FRAMES), ...ending(0));
  await assert.rejects(readAll(player), (error) => {
    assert.ok(error instanceof ChecksumError);
    assert.equal(error.code, status.DATA_LOSS);
    assert.match(error.message, /bass from frame 10000/);
    assert.match(`${error.expected} ${error.actual}`, /^[0-9a-f]{64} [0-9a-f]{64}$/);
    return error.expected !== error.actual;
  });
  assert.deepEqual(waits, []);
});

test("why there is no audio, and until when", async (context) => {
  const told: NotReady[] = [];
  const { player, call } = await play(context, { onNotReady: (notReady) => told.push(notReady) });
  const next = read(player);
  const range = { startFrame: 0, endFrame: 30_000 };
  for (const value of [
    { generation: 0, reason: NotReadyReason.QUEUED },
    { generation: 0, reason: NotReadyReason.SEPARATING, range, expectedIn: { seconds: 1, nanos: 500_000_000 } },
  ]) {
    call.send(StreamStemsResponse.fromPartial({ message: { $case: "notReady", value } }));
  }
  while (told.length < 2) await new Promise(setImmediate);
  assert.deepEqual(told, [
    { range: undefined, reason: NotReadyReason.QUEUED, expectedIn: undefined },
    { range, reason: NotReadyReason.SEPARATING, expectedIn: 1.5 },
  ]);
  assert.deepEqual(player.notReady, told[1]);
  call.send(info(), chunk(0, 0, 1000));
  await next;
  assert.equal(player.notReady, undefined);
});

test("a stream that ended while its consumer paused is opened again", async (context) => {
  const { server, player, call } = await play(context);
  call.send(info(), ...round(0, 1000));
  await read(player);
  await read(player);
  call.fail(status.DEADLINE_EXCEEDED, "STREAM_IDLE");
  const next = read(player);
  const second = await nextCall(server);
  second.call.send(info(), chunk(0, 1000, 2000));
  assert.equal((await next).startFrame, 1000);
});
