/** What is asked of JobService. */

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";

import { status } from "@grpc/grpc-js";

import { duration } from "./durations.js";
import { MismoError } from "./errors.js";
import { Encoding } from "./generated/mismo/analysis/v1/audio.js";
import { type Job, type JobState, Priority } from "./generated/mismo/analysis/v1/job.js";
import { SubmitJobRequest } from "./generated/mismo/analysis/v1/job_service.js";
import { wholeNumber } from "./whole-number.js";

/** A path that the server can read, or a complete upload. */
export type JobSource = string | { readonly uploadId: string };

/** What to do with a track; what is left out the server chooses. Times in seconds. */
export interface SubmitOptions {
  /** A name of `listModels`. */
  model?: string;
  /** Some of the model's stems; all if empty. */
  stems?: readonly string[];
  /** One stem and its complement. */
  twoStems?: string;
  /** Begin here. */
  playhead?: number;
  priority?: Priority;
  labels?: Readonly<Record<string, string>>;
  /** Averages this many shifted passes (0 to 20). */
  shifts?: number;
  /** How far segments overlap (0 to 1). */
  overlap?: number;
  /** Of the stem files. */
  encoding?: Encoding;
  /** Of the stem files, Hz. */
  sampleRate?: number;
  /** [A-Za-z0-9._-]{1,128}; such a job that is active is returned, one that has ended runs anew. */
  jobId?: string;
  /** How long the result is kept after the end. */
  resultTtl?: number;
  /** A URL that gets a POST when the job has ended. */
  callback?: string;
  /** Check everything, start nothing. */
  validateOnly?: boolean;
  /** A UUID that gives an earlier submit's answer again; a fresh one if unset. */
  requestId?: string;
}

/** What a submit brought. */
export interface Submitted {
  readonly job: Job;
  /** An earlier submit made this job. */
  readonly deduplicated: boolean;
  /** The result of an earlier job was taken over. */
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

/** What to change about a job that has not ended. */
export interface JobUpdate {
  priority?: Priority;
  /** Seconds. */
  playhead?: number;
}

/** The message of a submit, with the id that makes it safe to repeat. Throws RangeError. */
export function submitRequest(source: JobSource, options: SubmitOptions): SubmitJobRequest {
  const { encoding = Encoding.UNSPECIFIED, sampleRate = 0 } = options;
  const hasOutput = encoding !== Encoding.UNSPECIFIED || sampleRate !== 0;
  return SubmitJobRequest.fromPartial({
    requestId: options.requestId ?? randomUUID(),
    jobId: options.jobId ?? "",
    source: {
      location:
        typeof source === "string"
          ? { $case: "path", value: resolve(source) }
          : { $case: "uploadId", value: source.uploadId },
    },
    options: {
      stems: true,
      model: options.model ?? "",
      stemNames: [...(options.stems ?? [])],
      twoStems: options.twoStems ?? "",
      playhead: duration(options.playhead),
      shifts: wholeNumber("shifts", options.shifts ?? 0),
      overlap: options.overlap,
      output: hasOutput ? { encoding, sampleRate: wholeNumber("sampleRate", sampleRate) } : undefined,
    },
    priority: options.priority ?? Priority.UNSPECIFIED,
    labels: { ...options.labels },
    resultTtl: duration(options.resultTtl),
    callback: options.callback === undefined ? undefined : { url: options.callback },
    validateOnly: options.validateOnly ?? false,
  });
}

/** The job of an answer; every answer has one. */
export function jobOf({ job }: { job: Job | undefined }): Job {
  if (job === undefined) throw new MismoError(status.INTERNAL, "the server's answer has no job");
  return job;
}
