/** Reads what the workers stored: WAV headers and JAMS. */

import { Failure } from "./failure.js";

/** Of a WAV file; enough for its headers. */
export const WAV_START_BYTES = 4096;

/**
 * Frames, rate (Hz), channels and seconds of a WAV file, from its first bytes; throws Failure.
 *
 * @param {Buffer} start
 * @param {number} size of the whole file in bytes
 * @param {string} name for the message
 */
export function wavFormat(start, size, name) {
  if (start.toString("latin1", 0, 4) !== "RIFF" || start.toString("latin1", 8, 12) !== "WAVE") {
    throw new Failure(`${name} is no WAV file`);
  }
  let format;
  for (let at = 12; at + 8 <= start.length; ) {
    const chunk = start.toString("latin1", at, at + 4);
    const bytes = start.readUInt32LE(at + 4);
    if (chunk === "fmt " && at + 24 <= start.length) {
      format = {
        channels: start.readUInt16LE(at + 10),
        rate: start.readUInt32LE(at + 12),
        frameBytes: start.readUInt16LE(at + 20),
      };
    }
    if (chunk === "data") {
      if (!format?.rate || !format.frameBytes) break;
      if (at + 8 + bytes > size) throw new Failure(`${name} ends before its audio does`);
      const frames = bytes / format.frameBytes;
      return { frames, rate: format.rate, channels: format.channels, seconds: frames / format.rate };
    }
    at += 8 + bytes + (bytes % 2);
  }
  throw new Failure(`${name} has no audio in the form that was expected`);
}

/**
 * The number of observations in each namespace of a JAMS document, and its length in seconds; throws Failure.
 *
 * @param {Buffer} bytes
 * @returns {{ seconds: number, counts: Record<string, number> }}
 */
export function jamsSummary(bytes) {
  let document;
  try {
    document = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new Failure(`annotation.jams is no JSON: ${error.message}`);
  }
  const { annotations, file_metadata: metadata } = document ?? {};
  if (!Array.isArray(annotations) || !(metadata?.duration > 0)) {
    throw new Failure("annotation.jams has no annotations, or no duration of the track");
  }
  const counts = {};
  for (const { namespace, data } of annotations) counts[namespace] = (counts[namespace] ?? 0) + (data?.length ?? 0);
  return { seconds: metadata.duration, counts };
}

/**
 * Throws Failure unless all stems have the same length, within a tolerance of `wanted` seconds.
 *
 * @param {Record<string, { frames: number, seconds: number }>} stems
 * @param {number} wanted
 */
export function checkLengths(stems, wanted) {
  const lengths = Object.entries(stems);
  const [[first, { frames }]] = lengths;
  for (const [name, stem] of lengths) {
    if (stem.frames !== frames) {
      throw new Failure(`the stems are not aligned: ${name} has ${stem.frames} frames, ${first} has ${frames}`);
    }
    // Tempo and length in a document are rounded; a stem that is a tenth of a second off is not.
    if (Math.abs(stem.seconds - wanted) > 0.1) {
      throw new Failure(`${name} lasts ${stem.seconds.toFixed(2)} s, where ${wanted.toFixed(2)} s were expected`);
    }
  }
}
