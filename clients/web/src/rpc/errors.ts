/** The one error of this package. */

import { Code } from "@connectrpc/connect";

/** Parts of a MismoError besides its code and message. */
export interface ErrorDetails {
  reason?: string;
  field?: string | undefined;
  retryable?: boolean;
  retryAfterSeconds?: number | undefined;
  metadata?: Readonly<Record<string, string>>;
  cause?: unknown;
}

/** The reason of an error of the connection, not of the server. */
export const NETWORK = "NETWORK";

/** A call that failed. Programs decide by `reason`, never by `message`. */
export class MismoError extends Error {
  override name = "MismoError";
  /** The gRPC code. */
  readonly code: Code;
  /** A stable UPPER_SNAKE name such as JOB_NOT_FOUND (docs/errors.md); NETWORK if the server could not be reached. */
  readonly reason: string;
  /** The field of the request that is at fault. */
  readonly field: string | undefined;
  /** The same call may succeed later. */
  readonly retryable: boolean;
  /** Seconds after which the call may be repeated; undefined if the server gave none. */
  readonly retryAfterSeconds: number | undefined;
  /** Values that belong to the reason. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(code: Code, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? "";
    this.field = details.field;
    this.retryable = details.retryable ?? false;
    this.retryAfterSeconds = details.retryAfterSeconds;
    this.metadata = details.metadata ?? {};
  }
}

/** The connection broke or could not be made. */
export function networkError(message: string, cause?: unknown): MismoError {
  return new MismoError(Code.Unavailable, message, { reason: NETWORK, retryable: true, cause });
}

/** The caller's signal aborted the call. */
export function abortedError(cause?: unknown): MismoError {
  return new MismoError(Code.Canceled, "the call was cancelled", { reason: "CANCELLED", cause });
}

/** Converts any failure to a MismoError. */
export function errorOf(cause: unknown): MismoError {
  if (cause instanceof MismoError) return cause;
  if (cause instanceof DOMException && cause.name === "AbortError") return abortedError(cause);
  const message = cause instanceof Error ? cause.message : String(cause);
  return new MismoError(Code.Unknown, message, { reason: "CLIENT", cause });
}

interface ErrorDocument {
  error: {
    code: string;
    message: string;
    field: string | null;
    retryable: boolean;
    metadata: Record<string, string>;
    grpc_code: string;
    retry_after_seconds: number | null;
  };
}

/** Converts the text frame with which the gateway ends a failed call. */
export function errorOfFrame(text: string): MismoError {
  try {
    return errorOfDocument(JSON.parse(text) as ErrorDocument);
  } catch (cause) {
    return new MismoError(Code.Internal, "the server sent an error that is not understood", { cause });
  }
}

/** Converts a response of the server to a call that it refused; undefined if it holds no error of the server. */
export async function errorOfResponse(response: Response): Promise<MismoError | undefined> {
  try {
    const document = (await response.json()) as ErrorDocument;
    if (typeof document.error.code !== "string") return undefined;
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    const code = response.status < 500 ? Code.PermissionDenied : Code.Unavailable;
    return errorOfDocument(document, code, seconds >= 0 ? seconds : undefined);
  } catch {
    return undefined;
  }
}

function errorOfDocument({ error }: ErrorDocument, code?: Code, retryAfterSeconds?: number): MismoError {
  return new MismoError(code ?? codeOf(error.grpc_code), error.message, {
    reason: error.code,
    field: error.field ?? undefined,
    retryable: error.retryable,
    retryAfterSeconds: error.retry_after_seconds ?? retryAfterSeconds,
    metadata: error.metadata,
  });
}

/** Returns the code of a name such as NOT_FOUND. */
function codeOf(name: string): Code {
  const wanted = name.replaceAll("_", "").toLowerCase().replace("cancelled", "canceled");
  for (const [key, value] of Object.entries(Code)) {
    if (typeof value === "number" && key.toLowerCase() === wanted) return value;
  }
  return Code.Unknown;
}
