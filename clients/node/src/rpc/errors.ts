/**
 * The errors of this client.
 *
 * MismoError               the server refused the call, failed, or is unreachable
 * ├── JobFailedError       the awaited job failed or was cancelled
 * ├── RunReplacedError     the job has another run than the expected one
 * ├── SeekRefusedError     a seek went past the end of the track; the stream continues as before
 * ├── StreamCorruptError   a message has a wrong checksum or position; the client fetches it again
 * ├── ChecksumError        each message is right, but the SHA-256 of all is wrong
 * └── SourceChangedError   the file changed during its upload
 */

import { status, type ServiceError } from "@grpc/grpc-js";

import { type Job, JobState } from "../generated/mismo/analysis/v1/job.js";
import type { JobError } from "../generated/mismo/analysis/v1/stage.js";
import { decodeStatus, type FieldViolation, type StatusDetails } from "./status-details.js";

const STATUS_DETAILS_KEY = "grpc-status-details-bin";
const RUN_REPLACED = "RUN_REPLACED";

/** Status codes of a stream whose connection, server or proxy went away. */
const BROKEN_STREAM_CODES: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
]);

/** Parts of a MismoError besides its code and message. */
export interface ErrorDetails extends StatusDetails {
  cause?: unknown;
}

/** A gRPC status with its details. Programs decide by `reason`, never by `message`. */
export class MismoError extends Error {
  override name = "MismoError";
  /** The gRPC code, such as `status.NOT_FOUND`. */
  readonly code: status;
  /** A stable UPPER_SNAKE name, such as JOB_NOT_FOUND; "" if the server named none. */
  readonly reason: string;
  /** Values that belong to the reason, such as `committed_bytes`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The invalid fields of the request. */
  readonly fieldViolations: readonly FieldViolation[];
  /** Seconds after which the client may repeat the call; undefined if the server gave no time. */
  readonly retryAfter: number | undefined;

  constructor(code: status, message: string, details: ErrorDetails = {}) {
    super(message || status[code], details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? "";
    this.metadata = details.metadata ?? {};
    this.fieldViolations = details.fieldViolations ?? [];
    this.retryAfter = details.retryAfter;
  }

  /** Name of the gRPC code, such as NOT_FOUND. */
  get codeName(): string {
    return status[this.code];
  }

  /** The same call may succeed later: the server is unavailable, or it gave a time to retry. */
  get retryable(): boolean {
    // Without RetryInfo it comes from gRPC itself, for a message over the size limit.
    if (this.code === status.RESOURCE_EXHAUSTED) return this.retryAfter !== undefined;
    return this.code === status.UNAVAILABLE;
  }

  /** The connection broke: an error that the server itself sends has a reason. */
  get brokenStream(): boolean {
    return this.reason === "" && BROKEN_STREAM_CODES.has(this.code);
  }

  /** Converts the error of a job or of a stage. */
  static ofJob(error: JobError): MismoError {
    const code = error.code in status ? (error.code as status) : status.UNKNOWN;
    return new MismoError(code, error.message, { reason: error.reason, metadata: error.metadata });
  }
}

/** The job failed or was cancelled. */
export class JobFailedError extends MismoError {
  override name = "JobFailedError";
  /** The ended job. */
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

/** The job was run again, so the rest would come from another run. Begin again to read the new run. */
export class RunReplacedError extends MismoError {
  override name = "RunReplacedError";

  constructor(message: string, details: ErrorDetails = {}) {
    super(status.FAILED_PRECONDITION, message, { reason: RUN_REPLACED, ...details });
  }
}

/** A seek went past the end of the track. The stream continues as before the seek. */
export class SeekRefusedError extends MismoError {
  override name = "SeekRefusedError";

  constructor(message: string) {
    super(status.OUT_OF_RANGE, message);
  }
}

/** A message has a wrong checksum or position. The client reads again after the last correct message. */
export class StreamCorruptError extends MismoError {
  override name = "StreamCorruptError";

  constructor(message: string) {
    super(status.DATA_LOSS, message);
  }
}

/** The SHA-256 of all received bytes is wrong, although the checksum of each message is right. */
export class ChecksumError extends MismoError {
  override name = "ChecksumError";
  /** SHA-256 that the server announced, lower-case hex. */
  readonly expected: string;
  /** SHA-256 of the received bytes, lower-case hex. */
  readonly actual: string;

  constructor(message: string, expected: string, actual: string) {
    super(status.DATA_LOSS, message);
    this.expected = expected;
    this.actual = actual;
  }
}

/** The content changed after its upload began. */
export class SourceChangedError extends MismoError {
  override name = "SourceChangedError";

  constructor(message: string) {
    super(status.ABORTED, message);
  }
}

/** Converts an error of a call to a MismoError. Throws any other error unchanged. */
export function toMismoError(error: unknown): MismoError {
  if (error instanceof MismoError) return error;
  if (error instanceof Error && "code" in error && "details" in error && "metadata" in error) {
    return ofServiceError(error as ServiceError);
  }
  throw error;
}

/** Converts an error of grpc-js. Keeps its message if the details cannot be decoded. */
function ofServiceError(error: ServiceError): MismoError {
  const [encoded] = error.metadata?.get(STATUS_DETAILS_KEY) ?? [];
  const decoded = encoded instanceof Uint8Array ? decodeStatus(encoded) : undefined;
  const message = error.details || decoded?.message || error.message;
  const details: ErrorDetails = { ...decoded?.details, cause: error };
  return details.reason === RUN_REPLACED
    ? new RunReplacedError(message, details)
    : new MismoError(error.code, message, details);
}
