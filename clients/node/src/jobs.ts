/** The requests of JobService, and what a job says. */

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";

import { status } from "@grpc/grpc-js";

import { Encoding } from "./generated/mismo/analysis/v1/audio.js";
import { type Job, type JobState, Priority } from "./generated/mismo/analysis/v1/job.js";
import { SubmitJobRequest, UpdateJobRequest } from "./generated/mismo/analysis/v1/job_service.js";
import { type LoudnessResult, Stage, StemOptions } from "./generated/mismo/analysis/v1/stage.js";
import { duration } from "./rpc/durations.js";
import { MismoError } from "./rpc/errors.js";
import { wholeNumber } from "./rpc/whole-number.js";

/** A path that the server can read, or a complete upload. */
export type JobSource = string | { readonly uploadId: string };

/** How to separate; what is left out the server chooses. */
export interface SeparationOptions {
  /** A name of `listModels`. */
  model?: string;
  /** Some of the model's stems; all if empty. */
  stems?: readonly string[];
  /** One stem and its complement. */
  twoStems?: string;
  /** Where the player is, in seconds: its segments are separated first. */
  playhead?: number;
  /** Averages this many shifted passes (0 to 20). */
  shifts?: number;
  /** How much of a segment overlaps the next one (0 to 0.95). */
  overlap?: number;
  /** Of the stem files. */
  encoding?: Encoding;
  /** Of the stem files, Hz. */
  sampleRate?: number;
}

/** What to do with a track; what is left out the server chooses. */
export interface SubmitOptions extends SeparationOptions {
  /** What is asked for, of `listStages`; the stems if empty. */
  stages?: readonly Stage[];
  priority?: Priority;
  labels?: Readonly<Record<string, string>>;
  /**
   * [A-Za-z0-9._-]{1,128}. If that job is active with the same source and options, it is returned; with others the
   * submit fails with reason JOB_ID_ACTIVE. If that job has ended, it gets a new run.
   */
  jobId?: string;
  /** Seconds for which the result is kept after the end. */
  resultTtl?: number;
  /** A URL that gets a POST when a stage has ended. */
  callback?: string;
  /** Check everything, start nothing. */
  validateOnly?: boolean;
  /** A UUID; a repeated one gets the answer of its first submit again. A fresh one if unset. */
  requestId?: string;
}

/** What a submit brought. */
export interface Submitted {
  readonly job: Job;
  /** An earlier submit made this job. */
  readonly deduplicated: boolean;
  /** The result of an earlier job is used again. */
  readonly cacheHit: boolean;
}

/** Which jobs to list. */
export interface ListOptions {
  /** Any of these; all if empty. */
  states?: readonly JobState[];
  /** All of these. */
  labels?: Readonly<Record<string, string>>;
  /** Jobs fetched at once (100; 1000 at most). */
  pageSize?: number;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/** What to change about a job that has not ended; what is left out stays. */
export interface JobUpdate {
  /** null: back to normal. */
  priority?: Priority | null;
  /** Seconds; null: no playhead. */
  playhead?: number | null;
}

/** The message of a submit, with the id that makes it safe to repeat. Throws RangeError. */
export function submitRequest(source: JobSource, options: SubmitOptions): SubmitJobRequest {
  return SubmitJobRequest.fromPartial({
    requestId: options.requestId ?? randomUUID(),
    jobId: options.jobId ?? "",
    source: {
      location:
        typeof source === "string"
          ? { $case: "path", value: resolve(source) }
          : { $case: "uploadId", value: source.uploadId },
    },
    options: { stages: [...(options.stages ?? [])], stems: stemOptions(options) },
    priority: options.priority ?? Priority.UNSPECIFIED,
    labels: { ...options.labels },
    resultTtl: duration(options.resultTtl),
    callback: options.callback === undefined ? undefined : { url: options.callback },
    validateOnly: options.validateOnly ?? false,
  });
}

/** Unset unless something is said about the stems: a job that asks for none has no such options. */
function stemOptions(options: SeparationOptions): StemOptions | undefined {
  const { model, stems, twoStems, playhead, shifts, overlap, encoding, sampleRate } = options;
  const given = { model, stems, twoStems, playhead, shifts, overlap, encoding, sampleRate };
  if (Object.values(given).every((value) => value === undefined)) return undefined;
  return StemOptions.fromPartial({
    model: model ?? "",
    stemNames: [...(stems ?? [])],
    twoStems: twoStems ?? "",
    playhead: duration(playhead),
    shifts: wholeNumber("shifts", shifts ?? 0),
    overlap,
    output:
      encoding === undefined && sampleRate === undefined
        ? undefined
        : { encoding: encoding ?? Encoding.UNSPECIFIED, sampleRate: wholeNumber("sampleRate", sampleRate ?? 0) },
  });
}

/** The message of an update. Throws RangeError. */
export function updateRequest(jobId: string, { priority, playhead }: JobUpdate, expectedRunId = ""): UpdateJobRequest {
  const updateMask = Object.entries({ priority, playhead }).flatMap(([path, value]) => (value === undefined ? [] : [path]));
  return UpdateJobRequest.fromPartial({
    ...{ jobId, expectedRunId, updateMask },
    priority: priority ?? Priority.UNSPECIFIED,
    playhead: duration(playhead ?? undefined),
  });
}

/** The loudness of the job's track; undefined until Stage.LOUDNESS has succeeded. */
export function loudnessOf(job: Job): LoudnessResult | undefined {
  const result = job.stages.find(({ stage }) => stage === Stage.LOUDNESS)?.result;
  return result?.$case === "loudness" ? result.value : undefined;
}

/** The job of an answer; every answer has one. */
export function jobOf({ job }: { job: Job | undefined }): Job {
  if (job === undefined) throw new MismoError(status.INTERNAL, "the server's answer has no job");
  return job;
}
