/** Decodes the google.rpc.Status of an error. */

import type { Any } from "../generated/google/protobuf/any.js";
import { BadRequest, ErrorInfo, RetryInfo } from "../generated/google/rpc/error_details.js";
import { Status } from "../generated/google/rpc/status.js";
import { seconds } from "./durations.js";

/** An invalid field of a request. */
export interface FieldViolation {
  /** Path of the field, such as `options.stems.model`. */
  readonly field: string;
  /** What is wrong, and which values are allowed. */
  readonly description: string;
}

/** The parts of a status besides its code and message. */
export interface StatusDetails {
  reason?: string;
  metadata?: Readonly<Record<string, string>>;
  fieldViolations?: readonly FieldViolation[];
  /** Seconds. */
  retryAfter?: number;
}

/** A decoded google.rpc.Status. */
export interface DecodedStatus {
  readonly message: string;
  readonly details: StatusDetails;
}

/** Decodes a serialized google.rpc.Status; undefined if it cannot be decoded. */
export function decodeStatus(encoded: Uint8Array): DecodedStatus | undefined {
  try {
    const { message, details } = Status.decode(encoded);
    return { message, details: Object.assign({}, ...details.map(decodeDetail)) as StatusDetails };
  } catch {
    return undefined;
  }
}

function decodeDetail({ typeUrl, value }: Any): StatusDetails {
  switch (typeUrl.slice(typeUrl.lastIndexOf("/") + 1)) {
    case "google.rpc.ErrorInfo": {
      const { reason, metadata } = ErrorInfo.decode(value);
      return { reason, metadata };
    }
    case "google.rpc.BadRequest":
      return { fieldViolations: BadRequest.decode(value).fieldViolations };
    case "google.rpc.RetryInfo": {
      const { retryDelay } = RetryInfo.decode(value);
      return retryDelay === undefined ? {} : { retryAfter: seconds(retryDelay) };
    }
    default:
      return {};
  }
}
