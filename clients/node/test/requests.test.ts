/** What the client makes of its arguments and of the server's answers. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import {
  ExportFormat,
  ChecksumError,
  crc32c,
  Encoding,
  JobState,
  loudnessOf,
  MismoError,
  Priority,
  RunReplacedError,
  Stage,
  StageState,
  status,
} from "mismo-client";

import { Job } from "#dist/generated/mismo/analysis/v1/job.js";
import type {
  CancelJobRequest,
  DeleteJobRequest,
  ListJobsRequest,
  ReplayJobRequest,
  SubmitJobRequest,
  UpdateJobRequest,
} from "#dist/generated/mismo/analysis/v1/job_service.js";
import { Model } from "#dist/generated/mismo/analysis/v1/system_service.js";
import type { CreateBlobLinkRequest, GetArtifactResponse, ReadStemResponse } from "#dist/generated/mismo/analysis/v1/transfer_service.js";

import { FakeServer, refusal } from "./support/fake-server.js";
import { JOB, RATE, RUN, samples, streamInfo, TOTAL_FRAMES } from "./support/fake-stems.js";
import { Memory } from "./support/sinks.js";

const job = Job.fromPartial({ jobId: JOB, runId: RUN, state: JobState.QUEUED });

test("a submit lists its stages, and has options of the stems only where it says something of them", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: SubmitJobRequest[] = [];
  server.answers["submitJob"] = (request: SubmitJobRequest) => {
    requests.push(request);
    return { job, deduplicated: false, cacheHit: false };
  };
  await client.submit("/song.wav");
  await client.submit("/song.wav", { stages: [Stage.LOUDNESS], labels: { deck: "a" } });
  await client.submit("/song.wav", {
    stages: [Stage.STEMS, Stage.LOUDNESS],
    ...{ model: "mismo_lite", stems: ["bass"], playhead: 1.5, overlap: 0, shifts: 2 },
    ...{ encoding: Encoding.PCM_F32LE, sampleRate: 48_000 },
  });
  const options = requests.map((request) => request.options!);
  assert.deepEqual(options[0], { stages: [], stems: undefined, generation: undefined, blobUpload: undefined, export: undefined });
  assert.deepEqual(options[1], { stages: [Stage.LOUDNESS], stems: undefined, generation: undefined, blobUpload: undefined, export: undefined });
  assert.deepEqual(options[2]!.stages, [Stage.STEMS, Stage.LOUDNESS]);
  assert.deepEqual(options[2]!.stems, {
    ...{ model: "mismo_lite", stemNames: ["bass"], twoStems: "", shifts: 2, overlap: 0 },
    playhead: { seconds: 1, nanos: 500_000_000 },
    output: { encoding: Encoding.PCM_F32LE, sampleRate: 48_000 },
  });
  assert.equal(new Set(requests.map(({ requestId }) => requestId)).size, 3);
});

test("a blob is submitted by its URI, and anything else as a path", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: SubmitJobRequest[] = [];
  server.answers["submitJob"] = (request: SubmitJobRequest) => {
    requests.push(request);
    return { job, deduplicated: false, cacheHit: false };
  };
  const uris = ["az://c/a b.wav", "s3://c/a.wav", "https://h/c/a.wav", "http://h/c/a.wav", "file:///a.wav", "AZ://c/a"];
  for (const uri of uris) await client.submit(uri, { blobPrefix: "albums/42" });
  await client.submit("/music/az://a.wav");
  const last = requests.pop()!;
  assert.deepEqual(last.source?.location, { $case: "path", value: "/music/az:/a.wav" });
  assert.equal(last.options?.blobUpload, undefined);
  assert.deepEqual(
    requests.map(({ source }) => source?.location),
    uris.map((value) => ({ $case: "blobUri", value })),
  );
  assert.deepEqual(requests[0]!.options?.blobUpload, { prefix: "albums/42" });
});

test("exports add their stage, and the stems where nothing else is asked for", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: SubmitJobRequest[] = [];
  server.answers["submitJob"] = (request: SubmitJobRequest) => {
    requests.push(request);
    return { job, deduplicated: false, cacheHit: false };
  };
  await client.submit("/a.wav", { exports: [ExportFormat.MP3, ExportFormat.STEM_MP4], mp3Kbps: 192 });
  await client.submit("/a.wav", { stages: [Stage.STEMS, Stage.EXPORT], exports: [ExportFormat.FLAC] });
  await client.submit("/a.wav", { stages: [Stage.LOUDNESS], exports: [] });
  const [first, second, third] = requests.map(({ options }) => options!);
  assert.deepEqual(first!.stages, [Stage.STEMS, Stage.EXPORT]);
  assert.deepEqual(first!.export, { formats: [ExportFormat.MP3, ExportFormat.STEM_MP4], mp3Kbps: 192 });
  assert.deepEqual(second!.stages, [Stage.STEMS, Stage.EXPORT]);
  assert.deepEqual(second!.export, { formats: [ExportFormat.FLAC], mp3Kbps: 0 });
  assert.deepEqual([third!.stages, third!.export], [[Stage.LOUDNESS], undefined]);
});

test("a generation has its options and no source", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: SubmitJobRequest[] = [];
  server.answers["submitJob"] = (request: SubmitJobRequest) => {
    requests.push(request);
    return { job, deduplicated: true, cacheHit: false };
  };
  const { deduplicated } = await client.generate(["bass", "drums"], {
    ...{ targetBpm: 92.5, duration: 4.25, style: "rock", chordProgression: ["Am", "F"], key: "A minor" },
    ...{ prompt: "loud", temperature: 0.5, randomSeed: Number.MAX_SAFE_INTEGER, generator: "synthetic" },
    ...{ blobPrefix: "albums/42", priority: Priority.HIGH, jobId: JOB, callback: "http://127.0.0.1/done" },
  });
  assert.equal(deduplicated, true);
  await client.generate(["bass"]);
  const [full, least] = requests;
  assert.equal(full!.source, undefined);
  assert.deepEqual(full!.options, {
    stages: [Stage.GENERATION],
    stems: undefined,
    generation: {
      ...{ targetStems: ["bass", "drums"], targetBpm: 92.5, duration: { seconds: 4, nanos: 250_000_000 } },
      ...{ style: "rock", chordProgression: ["Am", "F"], key: "A minor", prompt: "loud", temperature: 0.5 },
      ...{ randomSeed: Number.MAX_SAFE_INTEGER, generator: "synthetic" },
    },
    blobUpload: { prefix: "albums/42" },
    export: undefined,
  });
  assert.deepEqual([full!.jobId, full!.priority, full!.callback?.url], [JOB, Priority.HIGH, "http://127.0.0.1/done"]);
  assert.deepEqual(least!.options?.generation, {
    ...{ targetStems: ["bass"], targetBpm: 0, duration: undefined, style: "", chordProgression: [], key: "" },
    ...{ prompt: "", temperature: 0, randomSeed: 0, generator: "" },
  });
  assert.notEqual(full!.requestId, least!.requestId);
  await assert.rejects(client.generate(["bass"], { randomSeed: 0.5 }), RangeError);
  await assert.rejects(client.generate(["bass"], { duration: NaN }), RangeError);
  assert.equal(requests.length, 2);
});

test("a link names the blob and its lifetime; the server's refusal is an error", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: CreateBlobLinkRequest[] = [];
  const expireTime = new Date(1_700_000_090_000);
  server.answers["createBlobLink"] = (request: CreateBlobLinkRequest) => {
    requests.push(request);
    if (request.name === "stems/none.wav") throw refusal(status.NOT_FOUND, "ARTIFACT_NOT_FOUND");
    return { url: "https://blobs.example/1", expireTime };
  };
  const link = await client.createBlobLink(JOB, "stems/bass.wav", { ttl: 90, expectedRunId: RUN });
  assert.equal(link.url, "https://blobs.example/1");
  assert.deepEqual(link.expireTime, expireTime);
  assert.deepEqual(requests[0], {
    ...{ jobId: JOB, expectedRunId: RUN, name: "stems/bass.wav" },
    ttl: { seconds: 90, nanos: 0 },
  });
  await client.createBlobLink(JOB, "stems/bass.wav");
  assert.equal(requests[1]!.ttl, undefined);
  await assert.rejects(client.createBlobLink(JOB, "stems/none.wav"), { reason: "ARTIFACT_NOT_FOUND" });
});

test("an active job with other content is an error with a reason", async (context) => {
  const { server, client } = await FakeServer.start(context);
  server.answers["submitJob"] = () => {
    throw refusal(status.ALREADY_EXISTS, "JOB_ID_ACTIVE");
  };
  await assert.rejects(client.submit("/song.wav", { jobId: JOB }), (error) => {
    assert.ok(error instanceof MismoError);
    return error.code === status.ALREADY_EXISTS && error.reason === "JOB_ID_ACTIVE" && !error.retryable;
  });
});

test("an update names what it changes; null clears", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: UpdateJobRequest[] = [];
  server.answers["updateJob"] = (request: UpdateJobRequest) => {
    requests.push(request);
    return { job };
  };
  await client.update(JOB, { priority: Priority.HIGH }, { expectedRunId: RUN });
  await client.update(JOB, { playhead: null });
  await client.update(JOB, { priority: null, playhead: 2 });
  const mask = requests.map(({ updateMask, priority, playhead }) => [updateMask, priority, playhead?.seconds]);
  assert.deepEqual(mask, [
    [["priority"], Priority.HIGH, undefined],
    [["playhead"], Priority.UNSPECIFIED, undefined],
    [["priority", "playhead"], Priority.UNSPECIFIED, 2],
  ]);
  assert.deepEqual(
    requests.map(({ expectedRunId }) => expectedRunId),
    [RUN, "", ""],
  );
});

test("a call that changes a job can be meant for one run alone", async (context) => {
  const { server, client } = await FakeServer.start(context);
  server.answers["cancelJob"] = ({ expectedRunId }: CancelJobRequest) => {
    if (expectedRunId !== RUN) throw refusal(status.FAILED_PRECONDITION, "RUN_REPLACED", "run-2 is the newest");
    return { job };
  };
  assert.equal((await client.cancel(JOB, { expectedRunId: RUN })).runId, RUN);
  await assert.rejects(client.cancel(JOB, { expectedRunId: "run-0" }), (error) => {
    assert.ok(error instanceof RunReplacedError);
    return error.reason === "RUN_REPLACED" && error.message === "run-2 is the newest";
  });
});

test("a delete whose answer was lost is no error", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: DeleteJobRequest[] = [];
  server.answers["deleteJob"] = (request: DeleteJobRequest) => {
    requests.push(request);
    if (requests.length === 1) throw refusal(status.UNAVAILABLE, "");
    if (!request.allowMissing) throw refusal(status.NOT_FOUND, "JOB_NOT_FOUND");
    return {};
  };
  await client.delete(JOB, { expectedRunId: RUN });
  await client.delete(JOB, { allowMissing: true });
  assert.deepEqual(
    requests.map(({ allowMissing, expectedRunId }) => [allowMissing, expectedRunId]),
    [
      [false, RUN],
      [true, RUN],
      [true, ""],
    ],
  );
  await assert.rejects(client.delete(JOB), { reason: "JOB_NOT_FOUND" });
});

test("stages, models and loudness", async (context) => {
  const { server, client } = await FakeServer.start(context);
  server.answers["listStages"] = () => ({
    stages: [
      { stage: Stage.STEMS, available: true, reason: "", needs: [Stage.DECODE] },
      { stage: Stage.GENRE, available: false, reason: "not in this version", needs: [] },
    ],
  });
  server.answers["listModels"] = () => ({ models: [Model.fromPartial({ name: "mismo_lite", isDefault: true })] });
  const stages = await client.listStages();
  assert.deepEqual(stages.map(({ stage, available }) => [stage, available]), [
    [Stage.STEMS, true],
    [Stage.GENRE, false],
  ]);
  assert.deepEqual(stages[0]!.needs, [Stage.DECODE]);
  assert.equal((await client.listModels())[0]!.isDefault, true);

  const stage = { stage: Stage.LOUDNESS, state: StageState.SUCCEEDED };
  const loudness = { integratedLufs: -14.2, truePeakDbtp: -1 };
  server.answers["getJob"] = () => ({
    job: Job.fromPartial({ ...job, stages: [{ ...stage, result: { $case: "loudness", value: loudness } }] }),
  });
  const measured = loudnessOf(await client.getJob(JOB));
  assert.deepEqual([measured?.integratedLufs, measured?.truePeakDbtp], [-14.2, -1]);
  assert.equal(measured?.loudnessRangeLu, undefined);
  assert.equal(loudnessOf(job), undefined);
});

const CONTENT = Buffer.from("what the file holds");

function part(offset: number, end: number, of: { sha256?: string; runId?: string } = {}): GetArtifactResponse {
  const data = CONTENT.subarray(offset, end);
  const sha256 = of.sha256 ?? createHash("sha256").update(CONTENT).digest("hex");
  const artifact = { name: "stems.json", contentType: "application/json", totalBytes: CONTENT.length, sha256 };
  return { artifact, runId: of.runId ?? RUN, offset, data, crc32c: crc32c(data) };
}

test("a file goes on in its run, and is checked as a whole", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const target = new Memory();
  const reading = client.getArtifact(JOB, "stems.json", target);
  const call = await server.getArtifact.next();
  assert.equal((await call.received()).expectedRunId, "");
  call.send(part(0, 5));
  call.cut();
  const second = await server.getArtifact.next();
  const { expectedRunId, offset } = await second.received();
  assert.deepEqual([expectedRunId, offset], [RUN, 5]);
  second.send(part(5, CONTENT.length));
  second.end();
  const { artifact, runId, bytes } = await reading;
  assert.deepEqual([artifact.contentType, runId, bytes], ["application/json", RUN, CONTENT.length]);
  assert.ok(target.bytes.equals(CONTENT));
});

for (const [what, after, expected] of [
  ["another run's", { runId: "run-2" }, RunReplacedError],
  ["not what was announced", { sha256: "0".repeat(64) }, ChecksumError],
] as const) {
  test(`a file that is ${what} is an error`, async (context) => {
    const { server, client } = await FakeServer.start(context);
    const reading = assert.rejects(client.getArtifact(JOB, "stems.json", new Memory()), expected);
    const call = await server.getArtifact.next();
    if ("runId" in after) {
      call.send(part(0, 5));
      call.cut();
      const second = await server.getArtifact.next();
      second.send(part(5, CONTENT.length, after));
      second.end();
    } else {
      call.send(part(0, CONTENT.length, after));
      call.end();
    }
    await reading;
  });
}

test("an archive without a checksum is taken as it comes", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const reading = client.getArtifact(JOB, "stems.zip", new Memory());
  const call = await server.getArtifact.next();
  call.send(part(0, CONTENT.length, { sha256: "" }));
  call.end();
  assert.equal((await reading).artifact.sha256, "");
});

function readChunk(start: number, end: number, runId?: string): ReadStemResponse {
  const data = samples(0, start, end);
  const info = runId === undefined ? undefined : streamInfo(runId);
  return { info, startFrame: start, frameCount: end - start, data, crc32c: crc32c(data) };
}

test("a stem is read in seconds, and goes on in frames of its run", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const target = new Memory();
  // 0.50005 s is not a whole frame at 10 kHz: both are rounded down.
  const reading = client.readStem(JOB, "bass", target, { startTime: 0.50005, timeLimit: 2.00009 });
  const call = await server.readStem.next();
  const asked = await call.received();
  assert.deepEqual(asked.start, { $case: "startTime", value: { seconds: 0, nanos: 500_050_000 } });
  assert.deepEqual(asked.limit, { $case: "timeLimit", value: { seconds: 2, nanos: 90_000 } });
  call.send(readChunk(5000, 10_000, RUN));
  call.cut();
  const second = await server.readStem.next();
  const again = await second.received();
  assert.equal(again.expectedRunId, RUN);
  assert.deepEqual(again.start, { $case: "startFrame", value: 10_000 });
  assert.deepEqual(again.limit, { $case: "frameLimit", value: 15_000 });
  second.send(readChunk(10_000, 25_000, RUN));
  second.end();
  const { startFrame, frameCount, format } = await reading;
  assert.deepEqual([startFrame, frameCount, format.sampleRate, format.runId], [5000, 20_000, RATE, RUN]);
  assert.ok(target.bytes.equals(samples(0, 5000, 25_000)));
});

test("a stem of another run is an error, not the rest of this one", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const reading = assert.rejects(client.readStem(JOB, "bass", new Memory()), RunReplacedError);
  const call = await server.readStem.next();
  call.send(readChunk(0, 1000, RUN));
  call.cut();
  (await server.readStem.next()).send(readChunk(1000, TOTAL_FRAMES, "run-2"));
  await reading;
  await assert.rejects(client.readStem(JOB, "bass", new Memory(), { frameLimit: 1, timeLimit: 1 }), RangeError);
  await assert.rejects(client.readStem(JOB, "bass", new Memory(), { timeLimit: -1 }), RangeError);
});

test("dead letters are listed alone", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: ListJobsRequest[] = [];
  server.answers["listJobs"] = (request: ListJobsRequest) => {
    requests.push(request);
    return { jobs: [job], nextPageToken: "" };
  };
  for await (const found of client.listJobs({ deadLetters: true })) assert.equal(found.jobId, JOB);
  for await (const found of client.listJobs()) assert.equal(found.jobId, JOB);
  assert.deepEqual(
    requests.map(({ deadLetters }) => deadLetters),
    [true, false],
  );
});

test("a replay names the run that failed, and one whose answer was lost is made once", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: ReplayJobRequest[] = [];
  let runId = "failed";
  server.answers["getJob"] = () => ({ job: { ...job, runId } });
  server.answers["replayJob"] = (request: ReplayJobRequest) => {
    requests.push(request);
    if (request.expectedRunId !== runId) throw refusal(status.FAILED_PRECONDITION, "RUN_REPLACED");
    runId = "new";
    if (requests.length === 1) throw refusal(status.UNAVAILABLE, "");
    return { job: { ...job, runId } };
  };
  assert.equal((await client.replayJob(JOB)).runId, "new");
  assert.deepEqual(
    requests.map(({ expectedRunId }) => expectedRunId),
    ["failed", "failed"],
  );
  await assert.rejects(client.replayJob(JOB, { expectedRunId: "failed" }), RunReplacedError);
  assert.equal(requests.length, 3);
});
