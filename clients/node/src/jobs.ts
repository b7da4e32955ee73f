/** Builds the requests of JobService and reads results from a job. */

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";

import { status } from "@grpc/grpc-js";

import { Encoding } from "./generated/mismo/analysis/v1/audio.js";
import { type Job, type JobOptions, type JobState, Priority, type Source } from "./generated/mismo/analysis/v1/job.js";
import { SubmitJobRequest, UpdateJobRequest } from "./generated/mismo/analysis/v1/job_service.js";
import {
  type ExportFormat,
  GenerationOptions,
  type LoudnessResult,
  Stage,
  type StageStatus,
  StemOptions,
} from "./generated/mismo/analysis/v1/stage.js";
import { duration } from "./rpc/durations.js";
import { MismoError } from "./rpc/errors.js";
import { wholeNumber } from "./rpc/whole-number.js";

/**
 * A path that the server can read, the URI of a blob, or a completed upload. A string that begins with az://, s3://,
 * https://, http:// or file:// is the URI of a blob.
 */
export type JobSource = string | { readonly uploadId: string };

/** How to separate. The server chooses the value of each option that is unset. */
export interface SeparationOptions {
  /** A name of `listModels`. */
  model?: string;
  /** Some of the model's stems; all if empty. */
  stems?: readonly string[];
  /** One stem and its complement. */
  twoStems?: string;
  /** Position of the player in seconds. The server separates its segments first. */
  playhead?: number;
  /** Number of shifted passes whose mean is taken (0 to 20). */
  shifts?: number;
  /** Fraction of a segment that overlaps the next one (0 to 0.95). */
  overlap?: number;
  /** Encoding of the stem files. */
  encoding?: Encoding;
  /** Sample rate of the stem files, Hz. */
  sampleRate?: number;
}

/** What all jobs have. The server chooses the value of each option that is unset. */
export interface AnyJobOptions {
  priority?: Priority;
  labels?: Readonly<Record<string, string>>;
  /**
   * [A-Za-z0-9._-]{1,128}. If that job is active with the same source and options, the server returns it; if it is
   * active with others, the submit fails with reason JOB_ID_ACTIVE. If that job has ended, it gets a new run.
   */
  jobId?: string;
  /** Seconds for which the server keeps the result after the job has ended. */
  resultTtl?: number;
  /** URL to which the server sends a POST when a stage ends. */
  callback?: string;
  /** Folders in the server's blob container that get the results, such as "albums/42"; the job's id if unset. */
  blobPrefix?: string;
  /** Formats of the finished stems, which become artifacts of the job. Adds the stage of exports. */
  exports?: readonly ExportFormat[];
  /** Bit rate of MP3 exports, kbit/s: 128, 160, 192, 256 or 320 (320). */
  mp3Kbps?: number;
  /** Check the request without creating a job. */
  validateOnly?: boolean;
  /** UUID of this submit; a second submit with it gets the answer of the first. Random if unset. */
  requestId?: string;
}

/** What to do with a track. The server chooses the value of each option that is unset. */
export interface SubmitOptions extends SeparationOptions, AnyJobOptions {
  /** Stages to run, out of those of `listStages`; the stems if empty. */
  stages?: readonly Stage[];
}

/** What to generate. What is unset the server chooses, or the seed. The same options give the same stems. */
export interface GenerateOptions extends AnyJobOptions {
  /** Beats a minute, 40 to 240 (120). */
  targetBpm?: number;
  /** Seconds (10). */
  duration?: number;
  /** Such as "rock" or "jazz". */
  style?: string;
  /** One chord symbol for each bar, such as ["Am", "F", "C", "G"]; repeated to the end. */
  chordProgression?: readonly string[];
  /** A note and a mode, such as "A minor". */
  key?: string;
  /** A description in words, for the generator "musicgen". */
  prompt?: string;
  /** Sampling temperature of "musicgen": above 0, at most 2. 0 is the same as unset: 1. */
  temperature?: number;
  /** 0 to 2^53 - 1 (0). */
  randomSeed?: number;
  /** "synthetic" or "musicgen". */
  generator?: string;
}

/** The answer to a submit. */
export interface Submitted {
  readonly job: Job;
  /** An earlier submit created this job. */
  readonly deduplicated: boolean;
  /** The job reuses the result of an earlier job. */
  readonly cacheHit: boolean;
}

/** Which jobs to list. */
export interface ListOptions {
  /** Jobs in any of these states; in every state if empty. */
  states?: readonly JobState[];
  /** Jobs with all of these labels. */
  labels?: Readonly<Record<string, string>>;
  /** Only jobs that failed from a cause that may pass and kept their files for `replayJob` (false). */
  deadLetters?: boolean;
  /** Jobs in one request (100; at most 1000). */
  pageSize?: number;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/** Changes of a job that has not ended. A field that is unset stays as it is. */
export interface JobUpdate {
  /** null resets it to normal. */
  priority?: Priority | null;
  /** Seconds; null removes the playhead. */
  playhead?: number | null;
}

/** Builds the request of a submit; its request id makes it safe to repeat. Throws RangeError. */
export function submitRequest(source: JobSource, options: SubmitOptions): SubmitJobRequest {
  const location = locationOf(source);
  const asked = options.stages ?? [];
  const stages = asked.length === 0 && hasExports(options) ? [Stage.STEMS] : [...asked];
  return jobRequest({ stages, stems: stemOptions(options) }, options, location);
}

/** Builds the request of a generation; its request id makes it safe to repeat. Throws RangeError. */
export function generateRequest(targetStems: readonly string[], options: GenerateOptions): SubmitJobRequest {
  const generation = GenerationOptions.fromPartial({
    targetStems: [...targetStems],
    targetBpm: options.targetBpm ?? 0,
    duration: duration(options.duration),
    style: options.style ?? "",
    chordProgression: [...(options.chordProgression ?? [])],
    key: options.key ?? "",
    prompt: options.prompt ?? "",
    temperature: options.temperature ?? 0,
    randomSeed: wholeNumber("randomSeed", options.randomSeed ?? 0),
    generator: options.generator ?? "",
  });
  return jobRequest({ stages: [Stage.GENERATION], generation }, options);
}

type Location = NonNullable<Source["location"]>;

const BLOB_URI = /^(az|s3|https?|file):\/\//i;

function locationOf(source: JobSource): Location {
  if (typeof source !== "string") return { $case: "uploadId", value: source.uploadId };
  if (BLOB_URI.test(source)) return { $case: "blobUri", value: source };
  return { $case: "path", value: resolve(source) };
}

function jobRequest(work: Partial<JobOptions>, options: AnyJobOptions, location?: Location): SubmitJobRequest {
  const { blobPrefix } = options;
  const exported = hasExports(options)
    ? { formats: [...(options.exports ?? [])], mp3Kbps: options.mp3Kbps ?? 0 }
    : undefined;
  const stages = new Set([...(work.stages ?? []), ...(exported === undefined ? [] : [Stage.EXPORT])]);
  return SubmitJobRequest.fromPartial({
    requestId: options.requestId ?? randomUUID(),
    jobId: options.jobId ?? "",
    source: location && { location },
    options: {
      ...work,
      stages: [...stages],
      blobUpload: blobPrefix === undefined ? undefined : { prefix: blobPrefix },
      export: exported,
    },
    priority: options.priority ?? Priority.UNSPECIFIED,
    labels: { ...options.labels },
    resultTtl: duration(options.resultTtl),
    callback: options.callback === undefined ? undefined : { url: options.callback },
    validateOnly: options.validateOnly ?? false,
  });
}

function hasExports(options: AnyJobOptions): boolean {
  return (options.exports ?? []).length > 0;
}

/** Undefined if no option of the stems is set: a job without the stems stage must not have them. */
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

/** Builds the request of an update. Throws RangeError. */
export function updateRequest(jobId: string, { priority, playhead }: JobUpdate, expectedRunId = ""): UpdateJobRequest {
  const changes = Object.entries({ priority, playhead }).filter(([, value]) => value !== undefined);
  const updateMask = changes.map(([path]) => path);
  return UpdateJobRequest.fromPartial({
    ...{ jobId, expectedRunId, updateMask },
    priority: priority ?? Priority.UNSPECIFIED,
    playhead: duration(playhead ?? undefined),
  });
}

/** The results of stages, by the names of their fields in StageStatus. */
export type StageResults = {
  [Result in NonNullable<StageStatus["result"]> as Result["$case"]]: Result["value"];
};

/** The result of a stage, such as `resultOf(job, "basicFeatures")`; undefined until that stage has succeeded. */
export function resultOf<Name extends keyof StageResults>(job: Job, name: Name): StageResults[Name] | undefined {
  for (const { result } of job.stages) {
    if (result?.$case === name) return result.value as StageResults[Name];
  }
  return undefined;
}

/** Loudness of the job's track; undefined until Stage.LOUDNESS has succeeded. */
export function loudnessOf(job: Job): LoudnessResult | undefined {
  return resultOf(job, "loudness");
}

/** Returns the job of an answer. Throws MismoError (INTERNAL) if it has none. */
export function jobOf({ job }: { job: Job | undefined }): Job {
  if (job === undefined) throw new MismoError(status.INTERNAL, "the server's answer has no job");
  return job;
}
