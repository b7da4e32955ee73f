/** Results of the analyses, and how tracks are compared. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { KeyMode, KeyRelation, loudnessOf, MismoError, resultOf, SectionRole, Stage, StageState, status } from "mismo-client";

import { Job } from "#dist/generated/mismo/analysis/v1/job.js";
import type { CompareTracksRequest } from "#dist/generated/mismo/analysis/v1/job_service.js";
import { BasicFeaturesResult, SectionsResult, TrackComparison } from "#dist/generated/mismo/analysis/v1/results.js";

import { FakeServer, refusal } from "./support/fake-server.js";
import { JOB } from "./support/fake-stems.js";

const beats = Array.from({ length: 16 }, (_, beat) => beat * 0.5);
const job = Job.fromPartial({
  jobId: JOB,
  stages: [
    { stage: Stage.DECODE, state: StageState.SUCCEEDED },
    {
      stage: Stage.BASIC_FEATURES,
      state: StageState.SUCCEEDED,
      result: {
        $case: "basicFeatures",
        value: BasicFeaturesResult.fromPartial({
          tempo: 120,
          beats,
          downbeats: beats.filter((_, beat) => beat % 4 === 0),
          key: { tonic: 6, mode: KeyMode.MINOR, name: "F# minor", camelot: "11A" },
        }),
      },
    },
    {
      stage: Stage.SECTIONS,
      state: StageState.SUCCEEDED,
      result: {
        $case: "sections",
        value: SectionsResult.fromPartial({ sections: [{ start: 0, end: 8, label: "A", role: SectionRole.INTRO }] }),
      },
    },
    { stage: Stage.GENRE, state: StageState.FAILED, error: { reason: "MODEL_UNAVAILABLE" } },
  ],
});

test("the result of a stage is found by its name, over the wire", async (context) => {
  const { server, client } = await FakeServer.start(context);
  server.answers["getJob"] = () => ({ job });
  const received = await client.getJob(JOB);
  const features = resultOf(received, "basicFeatures");
  assert.deepEqual([features?.tempo, features?.key?.camelot, features?.downbeats], [120, "11A", [0, 2, 4, 6]]);
  assert.equal(features?.tuning, undefined);
  assert.equal(resultOf(received, "sections")?.sections[0]?.role, SectionRole.INTRO);
  assert.equal(resultOf(received, "genre"), undefined);
  assert.equal(loudnessOf(received), undefined);
});

test("tracks are compared", async (context) => {
  const { server, client } = await FakeServer.start(context);
  const requests: CompareTracksRequest[] = [];
  const comparison = TrackComparison.fromPartial({
    incomingSpeed: 0.98,
    keyRelation: KeyRelation.RELATIVE,
    cuePairs: [{ mixOut: 88, mixIn: 16, bars: 8, score: 0.75 }],
    score: 0.5,
  });
  server.answers["compareTracks"] = (request: CompareTracksRequest) => {
    requests.push(request);
    return { comparison };
  };
  assert.deepEqual(await client.compareTracks("a", "b", { maxCuePairs: 3 }), comparison);
  await client.compareTracks("b", "a");
  assert.deepEqual(
    requests.map(({ outgoingJobId, incomingJobId, maxCuePairs }) => [outgoingJobId, incomingJobId, maxCuePairs]),
    [
      ["a", "b", 3],
      ["b", "a", 0],
    ],
  );
  await assert.rejects(client.compareTracks("a", "b", { maxCuePairs: 0.5 }), RangeError);
});

test("a track that is not analysed cannot be compared", async (context) => {
  const { server, client } = await FakeServer.start(context);
  server.answers["compareTracks"] = () => {
    throw refusal(status.FAILED_PRECONDITION, "JOB_NOT_READY");
  };
  await assert.rejects(client.compareTracks("a", "b"), (error) => {
    assert.ok(error instanceof MismoError);
    return error.reason === "JOB_NOT_READY";
  });
  // An answer without a comparison is an error of the server.
  server.answers["compareTracks"] = () => ({ comparison: undefined });
  await assert.rejects(client.compareTracks("a", "b"), { code: status.INTERNAL });
});
