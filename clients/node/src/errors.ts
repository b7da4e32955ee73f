/**
 * What can go wrong at a client.
 *
 * MismoError               the server refused, failed, or cannot be reached
 * ├── JobFailedError       a job that was waited for failed or was cancelled
 * ├── StreamCorruptError   bytes that came do not fit their checksum or their place
 * ├── SourceChangedError   the file changed while it was uploaded
 * └── JobChangedError      the job ran anew in another form while its stems were read
 */

import { status, type ServiceError } from "@grpc/grpc-js";

import { type Job, type JobError, JobState } from "./generated/mismo/analysis/v1/job.js";
import { decodeStatus } from "./rpc-status.js";

const STATUS_DETAILS_KEY = "grpc-status-details-bin";

/** What a stream ends with when the connection, the server or a proxy goes away in the middle of it. */
const BROKEN_STREAM_CODES: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
]);

/** A request field at fault and what is wrong with it. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** What a MismoError carries besides its code and message. */
export interface ErrorDetails {
  reason?: string;
  metadata?: Readonly<Record<string, string>>;
  fieldViolations?: readonly FieldViolation[];
  retryAfter?: number;
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
  /** For invalid arguments: the fields at fault. */
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

  /** The stream was cut rather than ended by the server's own decision, which would have a reason. */
  get brokenStream(): boolean {
    return this.reason === "" && BROKEN_STREAM_CODES.has(this.code);
  }

  /** From what grpc-js raised; its message stays whatever else cannot be read. */
  static of(error: ServiceError): MismoError {
    const [encoded] = error.metadata?.get(STATUS_DETAILS_KEY) ?? [];
    const rich = encoded instanceof Uint8Array ? decodeStatus(encoded) : undefined;
    return new MismoError(error.code, error.details || rich?.message || error.message, {
      ...rich?.details,
      cause: error,
    });
  }

  /** The error that lives on a job, in the same form. */
  static ofJob(error: JobError): MismoError {
    const code = error.code in status ? (error.code as status) : status.UNKNOWN;
    return new MismoError(code, error.message, { reason: error.reason, metadata: error.metadata });
  }
}

/** The job ended without a result. */
export class JobFailedError extends MismoError {
  override name = "JobFailedError";
  /** How it ended. */
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

/** What arrived is not what was sent; the stream is taken up again where it was still right. */
export class StreamCorruptError extends MismoError {
  override name = "StreamCorruptError";

  constructor(message: string) {
    super(status.DATA_LOSS, message);
  }
}

/** The content is no longer the one whose upload began. */
export class SourceChangedError extends MismoError {
  override name = "SourceChangedError";

  constructor(message: string) {
    super(status.ABORTED, message);
  }
}

/** The stems, or the artifact, are of another form than when the stream began. */
export class JobChangedError extends MismoError {
  override name = "JobChangedError";

  constructor(message: string) {
    super(status.ABORTED, message);
  }
}

/** `error` as a MismoError if it came from a call; anything else is thrown as it is. */
export function asMismoError(error: unknown): MismoError {
  if (error instanceof MismoError) return error;
  if (error instanceof Error && "code" in error && "details" in error && "metadata" in error) {
    return MismoError.of(error as ServiceError);
  }
  throw error;
}
