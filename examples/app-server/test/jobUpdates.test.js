/** One stream for all jobs: what is stored of it, and where it goes on. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { JobState } from "mismo-client";

import { JobTable } from "../src/jobTable.service.js";
import { JobUpdates } from "../src/jobUpdates.service.js";

function job(cursor, jobId, state = JobState.RUNNING) {
  return { type: "job", cursor, job: { jobId, runId: "run", labels: { track: `track of ${jobId}` }, state } };
}

const caughtUp = (cursor) => ({ type: "caughtUp", cursor });

/** A file for a table, that goes with the test. */
function fileFor(t) {
  const folder = mkdtempSync(join(tmpdir(), "mismo-table-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "data/jobs.json");
}

/** Updates from streams that bring what the test says, one stream after the other; then one that waits. */
async function updatesFrom(t, path, streams, options = {}) {
  const lines = [];
  const log = { info: (line) => lines.push(line), warn: (line) => lines.push(line), error: (line) => lines.push(line) };
  const table = await JobTable.open(path, log);
  const cursors = [];
  let waits;
  const waiting = new Promise((resolve) => (waits = resolve));
  const watchJobs = async function* ({ cursor, signal }) {
    cursors.push(cursor);
    const stream = streams.shift();
    if (stream === undefined) {
      waits();
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    }
    for (const event of stream) {
      if (event instanceof Error) throw event;
      yield event;
    }
  };
  const updates = new JobUpdates({ watchJobs, table, retryDelayMs: 1, log, ...options });
  t.after(() => updates.close());
  return { table, updates, cursors, lines, waiting };
}

const states = (table) => Object.fromEntries(table.jobs.map(({ jobId, state }) => [jobId, state]));

test("what came is stored with its cursor, and the next program goes on from there", async (t) => {
  const path = fileFor(t);
  const first = await updatesFrom(t, path, [[job("1", "a"), job("2", "b"), caughtUp("2"), job("3", "a", JobState.SUCCEEDED)]]);
  first.updates.start();
  await first.waiting;
  assert.deepEqual(first.cursors, ["", "3"]);
  await first.updates.close();

  const second = await updatesFrom(t, path, [[{ type: "deleted", cursor: "4", jobId: "a" }, caughtUp("4")]]);
  assert.deepEqual(states(second.table), { a: "SUCCEEDED", b: "RUNNING" });
  assert.equal(second.table.jobs[0].trackId, "track of a");
  second.updates.start();
  await second.waiting;
  assert.deepEqual(second.cursors, ["3", "4"]);
  assert.deepEqual(states(second.table), { b: "RUNNING" });
  assert.ok(second.lines.includes("The updates of jobs have caught up: 1 changed meanwhile"));
});

test("a stream that is given up is opened again from what was stored, not from what had come", async (t) => {
  const path = fileFor(t);
  const { table, updates, cursors, lines, waiting } = await updatesFrom(t, path, [
    [job("1", "a"), new Error("the server is away")],
    [job("2", "b")],
  ]);
  const apply = table.apply.bind(table);
  let failures = 1;
  table.apply = async (event) => {
    if (event.cursor === "2" && failures-- > 0) throw new Error("disk full");
    await apply(event);
  };
  updates.start();
  await waiting;
  assert.deepEqual(cursors, ["", "1", "1"]);
  assert.ok(lines.some((line) => line.includes("the server is away")) && lines.some((line) => line.includes("disk full")));
});

test("after an expired cursor only those are kept that came again, even if this program ends between", async (t) => {
  const path = fileFor(t);
  const first = await updatesFrom(t, path, [[job("1", "old"), job("2", "kept"), caughtUp("2")]]);
  first.updates.start();
  await first.waiting;
  await first.updates.close();

  const expired = { type: "cursorExpired", cursor: "" };
  const second = await updatesFrom(t, path, [[expired, job("11", "kept", JobState.SUCCEEDED)]]);
  second.updates.start();
  await second.waiting;
  assert.ok(second.lines.some((line) => line.includes("expired")));
  await second.updates.close();

  const third = await updatesFrom(t, path, [[job("12", "new"), caughtUp("12")]]);
  assert.deepEqual(Object.keys(states(third.table)), ["old", "kept"]);
  third.updates.start();
  await third.waiting;
  assert.deepEqual(states(third.table), { kept: "SUCCEEDED", new: "RUNNING" });
});

test("progress goes to whoever waits, and not to the disk", async (t) => {
  const path = fileFor(t);
  const progress = (cursor, jobId, fraction) => ({ type: "progress", cursor, jobId, progress: { fraction } });
  const { updates, waiting } = await updatesFrom(t, path, [
    [job("1", "a"), progress("1", "a", 0.25), progress("1", "b", 0.5), progress("2", "a", 0.75)],
  ]);
  const seen = [];
  const forget = updates.onProgress("a", (fraction) => {
    seen.push(fraction);
    if (fraction === 0.25) forget();
  });
  updates.start();
  await waiting;
  assert.deepEqual(seen, [0.25]);
  assert.equal(JSON.parse(readFileSync(path, "utf8")).cursor, "1");
});

test("a damaged file costs nothing but that all jobs come anew", async (t) => {
  const path = fileFor(t);
  await (await updatesFrom(t, path, [])).updates.close();
  for (const content of ["", "{", "[]", '{"cursor": "5"}']) {
    writeFileSync(path, content);
    const { table, lines } = await updatesFrom(t, path, []);
    assert.deepEqual([table.cursor, table.jobs], ["", []], content);
    assert.match(lines[0], /all jobs come anew/);
  }
});
