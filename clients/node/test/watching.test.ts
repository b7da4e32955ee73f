/** Watching one job or all of them, where the server or the connection goes away at the wrong moment. */

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { type JobsEvent, JobState, MismoError, RunReplacedError, status } from "mismo-client";

import { WatchJobResponse, WatchJobsResponse } from "#dist/generated/mismo/analysis/v1/job_service.js";

import { FakeServer } from "./support/fake-server.js";

function changed(cursor: string, jobId: string, state = JobState.RUNNING): WatchJobsResponse {
  return WatchJobsResponse.fromPartial({ cursor, event: { $case: "job", value: { jobId, runId: "run-1", state } } });
}

const caughtUp = (cursor: string): WatchJobsResponse =>
  WatchJobsResponse.fromPartial({ cursor, event: { $case: "caughtUp", value: {} } });

async function take(events: AsyncIterator<JobsEvent>): Promise<string> {
  const { value, done } = await events.next();
  assert.ok(!done);
  return value.type === "job" ? `${value.job.jobId} ${value.cursor}` : `${value.type} ${value.cursor}`;
}

test("the filter, the cursor and the intervals are asked for", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const events = client.watchJobs({
    states: [JobState.RUNNING, JobState.SUCCEEDED],
    labels: { deck: "a" },
    cursor: "c7",
    heartbeatInterval: 2.5,
    minProgressInterval: 0.5,
  });
  const first = events.next();
  const call = await server.watchJobs.next();
  assert.deepEqual(await call.received(), {
    states: [JobState.RUNNING, JobState.SUCCEEDED],
    labels: { deck: "a" },
    cursor: "c7",
    heartbeatInterval: { seconds: 2, nanos: 500_000_000 },
    minProgressInterval: { seconds: 0, nanos: 500_000_000 },
  });
  call.send(changed("c8", "song"));
  assert.equal((await first).value?.cursor, "c8");
  await events.return();
  await call.cancelled;
});

test("every kind of change is handed out", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const events = client.watchJobs({ heartbeats: true });
  const first = events.next();
  const call = await server.watchJobs.next();
  const time = new Date(1_700_000_000_000);
  call.send(
    changed("c1", "song"),
    caughtUp("c1"),
    WatchJobsResponse.fromPartial({
      ...{ cursor: "c1", time },
      event: { $case: "progress", value: { jobId: "song", runId: "run-1", progress: { fraction: 0.5 } } },
    }),
    WatchJobsResponse.fromPartial({ cursor: "c1", event: { $case: "heartbeat", value: {} } }),
    // A kind of event that this client does not know.
    WatchJobsResponse.fromPartial({ cursor: "c2" }),
    WatchJobsResponse.fromPartial({ cursor: "c3", event: { $case: "deleted", value: { jobId: "old", runId: "r" } } }),
  );
  assert.equal((await first).value?.type, "job");
  assert.equal(await take(events), "caughtUp c1");
  const progress = (await events.next()).value!;
  assert.ok(progress.type === "progress" && progress.progress.fraction === 0.5 && progress.time.getTime() === +time);
  assert.equal(await take(events), "heartbeat c1");
  const deleted = (await events.next()).value!;
  assert.deepEqual({ ...deleted, time: 0 }, { cursor: "c3", time: 0, type: "deleted", jobId: "old", runId: "r" });
});

test("a broken stream goes on from the last event that was handled, not the last that came", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const events = client.watchJobs();
  const first = take(events);
  const call = await server.watchJobs.next();
  assert.equal((await call.received()).cursor, "");
  call.send(changed("c1", "one"), changed("c2", "two"), changed("c3", "three"));
  assert.equal(await first, "one c1");
  assert.equal(await take(events), "two c2");
  call.cut();
  // What came before the break is not lost.
  assert.equal(await take(events), "three c3");
  const next = take(events);
  const second = await server.watchJobs.next();
  assert.equal((await second.received()).cursor, "c3");
  // An end without an error, as of a server that shuts down, is no end of the watch.
  second.end();
  const third = await server.watchJobs.next();
  assert.equal((await third.received()).cursor, "c3");
  third.send(changed("c4", "four"));
  assert.equal(await next, "four c4");
});

test("a cursor that expired begins anew, and says so once", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const events = client.watchJobs({ cursor: "ancient" });
  const first = events.next();
  const call = await server.watchJobs.next();
  assert.equal((await call.received()).cursor, "ancient");
  call.fail(status.OUT_OF_RANGE, "CURSOR_EXPIRED");
  const { value } = await first;
  assert.deepEqual([value?.type, value?.cursor], ["cursorExpired", ""]);
  const next = take(events);
  const second = await server.watchJobs.next();
  assert.equal((await second.received()).cursor, "");
  second.send(changed("c1", "one"), caughtUp("c1"));
  assert.equal(await next, "one c1");
  assert.equal(await take(events), "caughtUp c1");
});

test("a server that refuses even without a cursor is not asked for ever", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const events = client.watchJobs();
  const refused = assert.rejects(events.next(), (error) => {
    return error instanceof MismoError && error.reason === "CURSOR_EXPIRED";
  });
  (await server.watchJobs.next()).fail(status.OUT_OF_RANGE, "CURSOR_EXPIRED");
  await refused;
});

test("however an iteration ends, nothing of it is left at the signal of its consumer", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const { signal } = new AbortController();
  const failing = assert.rejects(client.watchJobs({ signal }).next(), { reason: "INTERNAL" });
  (await server.watchJobs.next()).fail(status.INTERNAL, "INTERNAL");
  await failing;
  const left = client.watchJobs({ signal });
  const first = left.next();
  (await server.watchJobs.next()).send(caughtUp("c1"));
  await first;
  assert.equal(getEventListeners(signal, "abort").length, 1);
  await left.return();
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("a stream that only ever catches up with nothing is given up in the end", async (context) => {
  const { server, client } = await FakeServer.start(context, { streamRetry: { attempts: 3, initial: 0.001 } });
  const seen: string[] = [];
  const watching = assert.rejects(
    (async () => {
      for await (const event of client.watchJobs({ cursor: "c1" })) seen.push(event.type);
    })(),
    { codeName: "UNAVAILABLE" },
  );
  for (let i = 0; i < 3; i++) {
    const call = await server.watchJobs.next();
    call.send(caughtUp("c1"));
    call.cut();
  }
  await watching;
  assert.deepEqual(seen, ["caughtUp", "caughtUp", "caughtUp"]);
});

test("a watch goes on in its run, and says so when that was replaced", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const events = client.watch("song");
  const first = events.next();
  const call = await server.watchJob.next();
  assert.equal((await call.received()).expectedRunId, "");
  const snapshot = { jobId: "song", runId: "run-1", state: JobState.RUNNING };
  call.send(
    WatchJobResponse.fromPartial({ revision: 3, serverEpoch: "e", event: { $case: "snapshot", value: snapshot } }),
  );
  assert.equal((await first).value?.type, "snapshot");
  call.cut();
  const next = assert.rejects(events.next(), RunReplacedError);
  const second = await server.watchJob.next();
  const { expectedRunId, afterRevision, serverEpoch } = await second.received();
  assert.deepEqual([expectedRunId, afterRevision, serverEpoch], ["run-1", 3, "e"]);
  second.fail(status.FAILED_PRECONDITION, "RUN_REPLACED");
  await next;
});
