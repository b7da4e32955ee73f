/**
 * google.rpc.Status and the three kinds of detail that the server sends, read field by field.
 *
 * Written by hand: the generated code of all of google.rpc would be longer than this client.
 */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

import { Duration } from "./generated/google/protobuf/duration.js";
import { seconds } from "./durations.js";
import type { ErrorDetails, FieldViolation } from "./errors.js";

/** A decoded google.rpc.Status. */
export interface RichStatus {
  message: string;
  details: ErrorDetails;
}

/** Reads a serialized google.rpc.Status; undefined where it is damaged. */
export function decodeStatus(encoded: Uint8Array): RichStatus | undefined {
  const found: RichStatus = { message: "", details: {} };
  try {
    readFields(encoded, (field, reader) => {
      if (field === 2) found.message = reader.string();
      else if (field === 3) readDetail(reader.bytes(), found.details);
      else return false;
      return true;
    });
  } catch {
    return undefined;
  }
  return found;
}

function readDetail(any: Uint8Array, details: ErrorDetails): void {
  let type = "";
  let value: Uint8Array = new Uint8Array();
  readFields(any, (field, reader) => {
    if (field === 1) type = reader.string();
    else if (field === 2) value = reader.bytes();
    else return false;
    return true;
  });
  switch (type.slice(type.lastIndexOf("/") + 1)) {
    case "google.rpc.ErrorInfo":
      return readErrorInfo(value, details);
    case "google.rpc.BadRequest":
      details.fieldViolations = readBadRequest(value);
      return;
    case "google.rpc.RetryInfo":
      readFields(value, (field, reader) => {
        if (field !== 1) return false;
        details.retryAfter = seconds(Duration.decode(reader.bytes()));
        return true;
      });
  }
}

function readErrorInfo(encoded: Uint8Array, details: ErrorDetails): void {
  const metadata: Record<string, string> = {};
  readFields(encoded, (field, reader) => {
    if (field === 1) details.reason = reader.string();
    else if (field === 3) {
      const [key, value] = readTwoStrings(reader.bytes());
      metadata[key] = value;
    } else return false;
    return true;
  });
  details.metadata = metadata;
}

function readBadRequest(encoded: Uint8Array): FieldViolation[] {
  const violations: FieldViolation[] = [];
  readFields(encoded, (field, reader) => {
    if (field !== 1) return false;
    const [name, description] = readTwoStrings(reader.bytes());
    violations.push({ field: name, description });
    return true;
  });
  return violations;
}

/** A map entry, or a field violation: strings in the fields 1 and 2. */
function readTwoStrings(encoded: Uint8Array): [string, string] {
  const pair: [string, string] = ["", ""];
  readFields(encoded, (field, reader) => {
    if (field !== 1 && field !== 2) return false;
    pair[field - 1] = reader.string();
    return true;
  });
  return pair;
}

/** Calls `read` for each field; it answers whether it took the field, otherwise the field is skipped. */
function readFields(encoded: Uint8Array, read: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(encoded);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited || !read(field, reader)) reader.skip(wireType);
  }
}
