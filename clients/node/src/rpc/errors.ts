/**
 * The errors of this client.
 *
 * MismoError               the server refused, failed, or cannot be reached
 * ├── JobFailedError       a job that was waited for failed or was cancelled
 * ├── RunReplacedError     the job has another run than the one that is expected
 * ├── SeekRefusedError     a seek past the end of the track; the stream goes on as before
 * ├── StreamCorruptError   a message does not fit its checksum or its position; fetched again
 * ├── ChecksumError        all messages fit, but their sum is not what was announced
 * └── SourceChangedError   the file changed while it was uploaded
 */

import { status, type ServiceError } from "@grpc/grpc-js";

import { type Job, JobState } from "../generated/mismo/analysis/v1/job.js";
import type { JobError } from "../generated/mismo/analysis/v1/stage.js";
import { decodeStatus, type FieldViolation, type StatusDetails } from "./status-details.js";

const STATUS_DETAILS_KEY = "grpc-status-details-bin";
const RUN_REPLACED = "RUN_REPLACED";

/** What a stream ends with when the connection, the server or a proxy goes away in the middle of it. */
const BROKEN_STREAM_CODES: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
]);

/** What a MismoError carries besides its code and message. */
export interface ErrorDetails extends StatusDetails {
  cause?: unknown;
}

/** A status with the details it carries. Decide by `reason`, never by `message`. */
export class MismoError extends Error {
  override name = "MismoError";
  /** The gRPC code, such as `status.NOT_FOUND`. */
  readonly code: status;
  /** A stable UPPER_SNAKE name, such as JOB_NOT_FOUND; "" if the server named none. */
  readonly reason: string;
  /** Facts that belong to the reason, such as `committed_bytes`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The wrong fields, for invalid arguments. */
  readonly fieldViolations: readonly FieldViolation[];
  /** Seconds after which the same call may succeed; undefined if the server named none. */
  readonly retryAfter: number | undefined;

  constructor(code: status, message: string, details: ErrorDetails = {}) {
    super(message || status[code], details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? "";
    this.metadata = details.metadata ?? {};
    this.fieldViolations = details.fieldViolations ?? [];
    this.retryAfter = details.retryAfter;
  }

  /** The gRPC code's name, such as NOT_FOUND. */
  get codeName(): string {
    return status[this.code];
  }

  /** The same call may succeed later: the server is away, or it said when to come back. */
  get retryable(): boolean {
    // Without RetryInfo it is gRPC itself that refuses, for a message past the size limit.
    if (this.code === status.RESOURCE_EXHAUSTED) return this.retryAfter !== undefined;
    return this.code === status.UNAVAILABLE;
  }

  /** The stream was cut: the server did not end it by a decision of its own, which would have a reason. */
  get brokenStream(): boolean {
    return this.reason === "" && BROKEN_STREAM_CODES.has(this.code);
  }

  /** The error that lives on a job or a stage, in the same form. */
  static ofJob(error: JobError): MismoError {
    const code = error.code in status ? (error.code as status) : status.UNKNOWN;
    return new MismoError(code, error.message, { reason: error.reason, metadata: error.metadata });
  }
}

/** The job ended without a result. */
export class JobFailedError extends MismoError {
  override name = "JobFailedError";
  /** The job as it ended. */
  readonly job: Job;

  constructor(job: Job) {
    const own = job.error && MismoError.ofJob(job.error);
    const ended = `job ${job.jobId} ${JobState[job.state]?.toLowerCase()}`;
    super(own?.code ?? status.CANCELLED, own ? `${ended}: ${own.message}` : ended, {
      ...(own && { reason: own.reason, metadata: own.metadata, cause: own }),
    });
    this.job = job;
  }
}

/** The job was run again: what follows would be another run's. Begin again with the new run, or give up. */
export class RunReplacedError extends MismoError {
  override name = "RunReplacedError";

  constructor(message: string, details: ErrorDetails = {}) {
    super(status.FAILED_PRECONDITION, message, { reason: RUN_REPLACED, ...details });
  }
}

/** A seek past the end of the track. The stream goes on as if it had not been asked for. */
export class SeekRefusedError extends MismoError {
  override name = "SeekRefusedError";

  constructor(message: string) {
    super(status.OUT_OF_RANGE, message);
  }
}

/** A message does not fit its checksum or its position; the stream goes on from the last one that did. */
export class StreamCorruptError extends MismoError {
  override name = "StreamCorruptError";

  constructor(message: string) {
    super(status.DATA_LOSS, message);
  }
}

/** All that arrived does not fit the SHA-256 that was announced, although every part fitted its own checksum. */
export class ChecksumError extends MismoError {
  override name = "ChecksumError";
  /** SHA-256 as announced, lower-case hex. */
  readonly expected: string;
  /** SHA-256 of what arrived, lower-case hex. */
  readonly actual: string;

  constructor(message: string, expected: string, actual: string) {
    super(status.DATA_LOSS, message);
    this.expected = expected;
    this.actual = actual;
  }
}

/** The content is no longer the one whose upload began. */
export class SourceChangedError extends MismoError {
  override name = "SourceChangedError";

  constructor(message: string) {
    super(status.ABORTED, message);
  }
}

/** `error` as a MismoError if it came from a call; anything else is thrown as it is. */
export function toMismoError(error: unknown): MismoError {
  if (error instanceof MismoError) return error;
  if (error instanceof Error && "code" in error && "details" in error && "metadata" in error) {
    return ofServiceError(error as ServiceError);
  }
  throw error;
}

/** From what grpc-js raised; its message stays, whatever else cannot be read. */
function ofServiceError(error: ServiceError): MismoError {
  const [encoded] = error.metadata?.get(STATUS_DETAILS_KEY) ?? [];
  const decoded = encoded instanceof Uint8Array ? decodeStatus(encoded) : undefined;
  const message = error.details || decoded?.message || error.message;
  const details: ErrorDetails = { ...decoded?.details, cause: error };
  return details.reason === RUN_REPLACED
    ? new RunReplacedError(message, details)
    : new MismoError(error.code, message, details);
}
