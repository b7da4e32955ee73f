/** Jobs as a client meets them: submitted, watched, changed, refused. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  connect,
  type Job,
  JobFailedError,
  JobState,
  loudnessOf,
  MismoError,
  type MismoClient,
  Priority,
  RunReplacedError,
  Stage,
  StageState,
  status,
} from "mismo-client";

import { Proxy } from "./support/proxy.js";
import { noServer, Server } from "./support/server.js";
import { track } from "./support/track.js";

async function refusal(call: Promise<unknown>): Promise<MismoError> {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof MismoError, String(error));
    return error;
  }
  assert.fail("it was not refused");
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}

describe("jobs", { skip: noServer }, () => {
  let server: Server;
  let client: MismoClient;
  let short: string;
  let long: string;

  before(async () => {
    server = new Server({ MISMO_QUEUE_CAPACITY: "2" });
    await server.start();
    client = connect(server.address);
    short = track(server.music, "short.wav", 3);
    long = track(server.music, "long.wav", 40);
  });

  after(async () => {
    client?.close();
    await server.close();
  });

  test("a submitted job is watched to its success", async () => {
    const { job } = await client.submit(short, { labels: { deck: "a" }, priority: Priority.HIGH });
    assert.equal(job.priority, Priority.HIGH);
    const events = await all(client.watch(job.jobId));
    assert.equal(events[0]!.type, "snapshot");
    const last = events.at(-1)!;
    assert.ok(last.type === "terminal");
    assert.equal(last.job.state, JobState.SUCCEEDED);
    assert.ok(last.job.stages.every((stage) => stage.state === StageState.SUCCEEDED));
    const ready = events.flatMap((event) => (event.type === "segmentReady" ? event.ranges : []));
    assert.equal(
      ready.reduce((sum, range) => sum + range.endFrame - range.startFrame, 0),
      last.job.stemSet!.totalFrames,
    );
    for (const [before, event] of events.slice(1).map((event, i) => [events[i]!, event] as const)) {
      assert.ok(event.revision >= before.revision);
    }
    // From an event on, nothing before it comes again.
    const { revision, serverEpoch } = events.findLast((event) => event.type === "segmentReady")!;
    const rest = await all(client.watch(job.jobId, { afterRevision: revision, serverEpoch }));
    assert.ok(rest.every((event) => event.revision > revision || event.type === "progress"));
    assert.deepEqual((await client.wait(job.jobId)).artifacts, last.job.artifacts);
    assert.deepEqual(await client.getJob(job.jobId), last.job);
  });

  test("the same request id gets the same job", async () => {
    const requestId = "8a9c6f0e-6f5b-4c39-9a55-3c8a0a4b7d11";
    const first = await client.submit(short, { requestId });
    const second = await client.submit(short, { requestId });
    assert.equal(second.job.jobId, first.job.jobId);
    assert.ok(second.deduplicated);
    const reused = await refusal(client.submit(short, { requestId, model: "mismo_lite", shifts: 2 }));
    assert.equal(reused.reason, "REQUEST_ID_REUSED");
    await client.wait(first.job.jobId);
    // Also after it was deleted: then it tells that.
    await client.delete(first.job.jobId);
    const late = await client.submit(short, { requestId });
    assert.ok(late.job.deleteTime && late.deduplicated);
    assert.equal(late.job.runId, first.job.runId);
  });

  test("a job id belongs to one content while it is active, and to a new run afterwards", async () => {
    const jobId = "my-song";
    const { job } = await client.submit(long, { jobId, shifts: 10 });
    const same = await client.submit(long, { jobId, shifts: 10, playhead: 20 });
    assert.deepEqual([same.job.runId, same.deduplicated], [job.runId, true]);
    const other = await refusal(client.submit(short, { jobId }));
    assert.deepEqual([other.code, other.reason], [status.ALREADY_EXISTS, "JOB_ID_ACTIVE"]);
    await client.cancel(jobId, { expectedRunId: job.runId });
    const again = await client.submit(short, { jobId });
    assert.notEqual(again.job.runId, job.runId);
    const refusals = await Promise.all(
      [
        client.cancel(jobId, { expectedRunId: job.runId }),
        client.update(jobId, { priority: Priority.LOW }, { expectedRunId: job.runId }),
        client.delete(jobId, { expectedRunId: job.runId }),
        client.wait(jobId, { expectedRunId: job.runId }),
      ].map(refusal),
    );
    for (const error of refusals) assert.ok(error instanceof RunReplacedError);
    await client.wait(jobId, { expectedRunId: again.job.runId });
    await client.delete(jobId);
    await client.delete(jobId, { allowMissing: true });
  });

  test("the playhead can be changed and cleared", async () => {
    const { job } = await client.submit(long, { shifts: 6, playhead: 10 });
    assert.equal(job.options?.stems?.playhead?.seconds, 10);
    const moved = await client.update(job.jobId, { playhead: 20.5 });
    assert.deepEqual(moved.options?.stems?.playhead, { seconds: 20, nanos: 500_000_000 });
    assert.equal((await client.update(job.jobId, { playhead: null })).options?.stems?.playhead, undefined);
    await client.delete(job.jobId);
  });

  test("loudness is measured beside the stems, or alone", async () => {
    const { job } = await client.submit(short, { stages: [Stage.LOUDNESS] });
    const measured = loudnessOf(await client.wait(job.jobId));
    assert.ok(measured !== undefined && measured.integratedLufs! < 0 && measured.integratedLufs! > -40);
    await client.delete(job.jobId);
  });

  test("all jobs are watched in one stream, and a later one goes on where it stopped", async () => {
    const labels = { list: "watched" };
    const states = new Map<string, JobState>();
    let cursor = "";
    const watchUntil = async (done: (seen: string[]) => boolean): Promise<string[]> => {
      const seen: string[] = [];
      for await (const event of client.watchJobs({ labels, cursor })) {
        seen.push(event.type);
        if (event.type === "job") states.set(event.job.jobId, event.job.state);
        if (event.type === "deleted") states.delete(event.jobId);
        cursor = event.cursor;
        if (done(seen)) return seen;
      }
      assert.fail("it ended");
    };
    const jobIds = [0, 1].map((number) => `watched-${number}`);
    for (const jobId of jobIds) await client.submit(short, { jobId, labels });
    const allSucceeded = (): boolean => jobIds.every((jobId) => states.get(jobId) === JobState.SUCCEEDED);
    await watchUntil((seen) => seen.includes("caughtUp") && allSucceeded());
    // What happened while nobody watched comes once, in its newest state.
    await client.delete("watched-0");
    await client.submit(long, { jobId: "watched-1", labels, shifts: 9 });
    await client.cancel("watched-1");
    const seen = await watchUntil(() => states.size === 1 && states.get("watched-1") === JobState.CANCELLED);
    assert.ok(seen.length <= 3 && seen.includes("deleted"), `${seen}`);
    await client.delete("watched-1");
  });

  test("a job is listed by its labels, updated, cancelled and deleted", async () => {
    const { job } = await client.submit(long, { labels: { list: "me" }, shifts: 3 });
    const found = await all(client.listJobs({ labels: { list: "me" }, pageSize: 1 }));
    assert.deepEqual(
      found.map((one) => one.jobId),
      [job.jobId],
    );
    assert.deepEqual(await all(client.listJobs({ labels: { list: "nobody" } })), []);
    assert.equal((await client.update(job.jobId, { priority: Priority.LOW })).priority, Priority.LOW);
    await client.cancel(job.jobId);
    const failed = await refusal(client.wait(job.jobId));
    assert.ok(failed instanceof JobFailedError);
    assert.equal(failed.job.state, JobState.CANCELLED);
    await client.delete(job.jobId);
    assert.equal((await refusal(client.getJob(job.jobId))).reason, "JOB_NOT_FOUND");
  });

  test("the server and its models introduce themselves", async () => {
    const info = await client.serverInfo();
    assert.ok(info.serverEpoch);
    const models = await client.listModels();
    const lite = models.find((model) => model.name === "mismo_lite");
    assert.equal(lite?.sampleRate, 44_100);
    assert.equal(models.filter((model) => model.isDefault).length, 1);
    const stages = await client.listStages();
    assert.ok(stages.find(({ stage }) => stage === Stage.STEMS)?.available);
    const missing = stages.find(({ stage }) => stage === Stage.BLOB_UPLOAD)!;
    assert.ok(!missing.available && missing.reason.length > 0);
    const unserved = await refusal(client.submit(short, { stages: [Stage.STEMS, Stage.BLOB_UPLOAD] }));
    assert.ok([status.UNIMPLEMENTED, status.FAILED_PRECONDITION].includes(unserved.code));
    for await (const sample of client.watchResources({ interval: 0.1 })) {
      assert.ok(sample.memoryUsedBytes > 0);
      break;
    }
  });

  test("errors carry code, reason, fields and metadata", async () => {
    const unknown = await refusal(client.getJob("nobody"));
    assert.deepEqual([unknown.code, unknown.reason], [status.NOT_FOUND, "JOB_NOT_FOUND"]);
    assert.match(unknown.message, /nobody/);
    assert.equal(unknown.retryable, false);

    const badOverlap = await refusal(client.submit(short, { overlap: 2 }));
    assert.deepEqual([badOverlap.codeName, badOverlap.reason], ["INVALID_ARGUMENT", "INVALID_FIELD"]);
    assert.deepEqual(
      badOverlap.fieldViolations.map((violation) => violation.field),
      ["options.stems.overlap"],
    );
    const badCallback = await refusal(client.submit(short, { callback: "no url" }));
    assert.match(badCallback.fieldViolations[0]?.field ?? "", /^callback/);
    const badPath = await refusal(client.submit("/etc/hostname"));
    assert.equal(badPath.reason, "SOURCE_PATH_FORBIDDEN");
    const badModel = await refusal(client.submit(short, { model: "no_such_model" }));
    assert.equal(badModel.reason, "MODEL_UNAVAILABLE");
    assert.ok(badModel.message.length > 20, badModel.message);

    assert.throws(() => client.streamStems("x", { startFrame: 0.5 }), RangeError);
    assert.equal((await refusal(all(client.watch("nobody")))).reason, "JOB_NOT_FOUND");
    assert.equal((await refusal(all(client.streamStems("nobody")))).reason, "JOB_NOT_FOUND");
  });

  test("a full queue is tried again after the time it asks for", async () => {
    const filling: Job[] = [];
    for (let i = 0; i < 2; i++) filling.push((await client.submit(long, { shifts: 4 + i })).job);
    const once = connect(server.address, { callRetry: { attempts: 1 } });
    const refused = await refusal(once.submit(short, { shifts: 1 }));
    once.close();
    assert.deepEqual([refused.code, refused.reason], [status.RESOURCE_EXHAUSTED, "QUEUE_FULL"]);
    assert.ok(refused.retryable && refused.retryAfter! > 0);

    // With patience it waits as long as it was told to; this test does not.
    const controller = new AbortController();
    const reason = new Error("seen enough");
    const waits: number[] = [];
    const patient = connect(server.address, {
      onRetry: (_, delay) => {
        waits.push(delay);
        controller.abort(reason);
      },
    });
    await assert.rejects(patient.submit(short, { shifts: 1, signal: controller.signal }), reason);
    assert.ok(waits.length === 1 && waits[0]! >= refused.retryAfter!);
    patient.close();
    for (const { jobId } of filling) await client.delete(jobId);
  });

  test("a server that cannot be reached is given up after the attempts allowed", async () => {
    const waits: number[] = [];
    const lost = connect("127.0.0.1:1", { callRetry: { attempts: 3 }, onRetry: (_, delay) => waits.push(delay) });
    const error = await refusal(lost.serverInfo());
    assert.deepEqual([error.code, error.reason], [status.UNAVAILABLE, ""]);
    assert.ok(error.message.length > 0 && error.cause !== undefined);
    assert.equal(waits.length, 2);
    lost.close();
    assert.equal((await refusal(lost.serverInfo())).code, status.CANCELLED);
  });

  test("a signal ends calls and iterations with its reason", async () => {
    const { job } = await client.submit(long, { shifts: 7 });
    const controller = new AbortController();
    const reason = new Error("enough");
    const watching = all(client.watch(job.jobId, { signal: controller.signal }));
    const playing = all(client.streamStems(job.jobId, { signal: controller.signal }));
    controller.abort(reason);
    await assert.rejects(watching, reason);
    await assert.rejects(playing, reason);
    await assert.rejects(client.getJob(job.jobId, { signal: controller.signal }), reason);
    await client.delete(job.jobId);
  });

  test("a connection that falls silent is replaced, and the watch goes on", async (context) => {
    const { job } = await client.submit(long, { shifts: 8 });
    const waits: MismoError[] = [];
    const { proxy, distant } = await Proxy.before(server.port, context, { onRetry: (error) => waits.push(error) });
    const watching = distant.watch(job.jobId, { heartbeatInterval: 1, heartbeatTimeout: 2 });
    const first = (await watching.next()).value!;
    assert.equal(first.type, "snapshot");
    proxy.freeze();
    const cancelled = client.cancel(job.jobId);
    const last = (await all(watching)).at(-1)!;
    assert.ok(last.type === "terminal" && last.job.state === JobState.CANCELLED);
    assert.equal(waits[0]!.code, status.UNAVAILABLE);
    assert.equal(proxy.connections, 2);
    await cancelled;
  });
});
