/** The seeks of a StemPlayer: their credit, refusals, repetition after a break, and seeks after the end. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SeekRefusedError } from "mismo-client";

import { nextCall, play, positions, read, readAll } from "./support/fake-player.js";
import {
  chunk,
  ending,
  info,
  RATE,
  round,
  RUN,
  seekApplied,
  seekRefused,
  sent,
  STEMS,
  TOTAL_FRAMES,
} from "./support/fake-stems.js";

test("a seek grants credit for its audio, and what it advanced is paid back by what is dropped", async (context) => {
  const { player, call } = await play(context, { creditBytes: 80_000, creditFrames: 20_000 });
  call.send(info(), ...round(0, 5000));
  await read(player);
  await read(player);
  void player.seek(30_000);
  void player.seek(40_000);
  // What was taken and as much as the window; the second finds this advance still unpaid.
  assert.deepEqual(sent("seek", await call.received()).credit, { bytes: 100_000, frames: 20_000 });
  assert.deepEqual(sent("seek", await call.received()).credit, { bytes: 0, frames: 20_000 });
  // One chunk of 20000 bytes was in hand, four were on their way: 100000 bytes against an advance of 80000.
  const next = read(player);
  call.send(...round(5000, 10_000), seekApplied(1, 30_000), ...round(10_000, 15_000));
  call.send(seekApplied(2, 40_000), chunk(0, 40_000, 45_000, 2));
  assert.deepEqual(positions([await next]), [["bass", 40_000]]);
  assert.equal(player.staleBytes, 80_000);
  const last = player.next();
  assert.deepEqual(sent("credit", await call.received()), { bytes: 40_000, frames: 0 });
  player.close();
  await last;
});

test("a refused seek rejects, and nothing of what went on meanwhile is lost", async (context) => {
  const { player, call } = await play(context);
  call.send(info(), ...round(0, 5000));
  await read(player);
  const refused = player.seek(TOTAL_FRAMES);
  sent("seek", await call.received());
  const next = read(player);
  call.send(...round(5000, 30_000), seekRefused(1), ...round(30_000, TOTAL_FRAMES), ...ending(0));
  await assert.rejects(refused, (error) => error instanceof SeekRefusedError && /past the end/.test(error.message));
  const chunks = [await next, ...(await readAll(player))];
  assert.ok(chunks.every(({ generation }) => generation === 0));
  assert.deepEqual(positions(chunks), [
    ["drums", 0],
    ["bass", 5000],
    ["drums", 5000],
    ["bass", 30_000],
    ["drums", 30_000],
  ]);
  assert.equal(player.staleBytes, 0);
});

test("of several seeks a refused one rejects alone", async (context) => {
  const { player, call, format } = await play(context);
  call.send(info());
  await format;
  const [first, second, third] = [player.seek(10_000), player.seek(TOTAL_FRAMES), player.seekToTime(3)];
  for (const generation of [1, 2, 3]) assert.equal(sent("seek", await call.received()).generation, generation);
  const next = read(player);
  call.send(seekApplied(1, 10_000), seekRefused(2), seekApplied(3, 3 * RATE), chunk(0, 3 * RATE, 31_000, 3));
  assert.equal((await next).startFrame, 3 * RATE);
  assert.deepEqual([await first, await third].map(({ generation }) => generation), [1, 3]);
  await assert.rejects(second, SeekRefusedError);
});

test("a seek that a later one replaced resolves with that one", async (context) => {
  const { player, call } = await play(context);
  const answers = Promise.all([player.seek(10_000), player.seek(20_000)]);
  call.send(info(), seekApplied(2, 20_000), chunk(0, 20_000, 21_000, 2));
  await read(player);
  assert.deepEqual((await answers).map(({ generation, startFrame }) => [generation, startFrame]), [
    [2, 20_000],
    [2, 20_000],
  ]);
});

test("a seek without an answer is sent again, and what it might have dropped comes again", async (context) => {
  const { server, player, call } = await play(context);
  call.send(info(), ...round(0, 5000));
  await read(player);
  await read(player);
  const refused = player.seek(TOTAL_FRAMES);
  const next = player.next();
  call.send(...round(5000, 10_000));
  await call.received();
  // The chunks have come, and wait for the answer.
  while (player.nextFrame("drums") !== 10_000) await new Promise(setImmediate);
  call.cut();
  const second = await nextCall(server);
  assert.equal(second.open.generation, 0);
  assert.deepEqual(
    second.open.resumePoints,
    STEMS.map((stemName) => ({ stemName, startFrame: 5000 })),
  );
  assert.equal(sent("seek", await second.call.received()).generation, 1);
  second.call.send(info(), seekRefused(1), ...round(5000, TOTAL_FRAMES), ...ending(5000));
  await assert.rejects(refused, SeekRefusedError);
  assert.equal((await next).value?.startFrame, 5000);
  assert.equal((await readAll(player)).length, 1);
});

test("after the end a seek opens another call of the same run", async (context) => {
  const { server, player, call } = await play(context, { startFrame: 59_000 });
  call.send(info(), ...round(59_000, TOTAL_FRAMES), ...ending(59_000, 0, "f00d"));
  assert.equal((await readAll(player)).length, 2);
  assert.deepEqual(player.stemSha256, { bass: "f00d", drums: "f00d" });
  assert.deepEqual(await player.next(), { done: true, value: undefined });

  const seeking = player.seek(58_000);
  const playing = readAll(player);
  const second = await nextCall(server);
  assert.equal(second.open.expectedRunId, RUN);
  assert.ok(second.open.resumePoints.every(({ startFrame }) => startFrame === TOTAL_FRAMES));
  assert.equal(sent("seek", await second.call.received()).generation, 1);
  second.call.send(info(), ...ending(TOTAL_FRAMES), seekApplied(1, 58_000));
  second.call.send(...round(58_000, TOTAL_FRAMES, 1), ...ending(58_000, 1));
  assert.deepEqual(positions(await playing), [
    ["bass", 58_000],
    ["drums", 58_000],
  ]);
  assert.deepEqual(await seeking, { generation: 1, startFrame: 58_000 });
});

test("a chunk of a seek that was not applied is never taken for audio", async (context) => {
  const { server, player, call, waits } = await play(context);
  void player.seek(20_000);
  call.send(info(), chunk(0, 20_000, 21_000, 1));
  const next = read(player);
  const second = await nextCall(server);
  second.call.send(info(), seekApplied(1, 20_000), chunk(0, 20_000, 21_000, 1));
  assert.equal((await next).generation, 1);
  assert.deepEqual(waits, ["StreamCorruptError"]);
});

test("closing rejects the seeks that were not answered, without an unhandled rejection", async (context) => {
  const { player, call, format } = await play(context);
  call.send(info());
  await format;
  const seeking = player.seek(10_000);
  void player.seek(20_000);
  player.close();
  await assert.rejects(seeking, { codeName: "CANCELLED" });
  await assert.rejects(player.seek(5), { codeName: "CANCELLED" });
  await call.cancelled;
});
