/** The WAV files of streamed stems. */

import { wavHeader } from "mismo-client";

/** Of the ds64 chunk that a file past 4 GiB has in this place. */
const RESERVED_BYTES = 28;
const RIFF_BYTES = 12;
const CHUNK_HEADER_BYTES = 8;

/**
 * What comes before the samples of a stem: the client's header, with the room that the server's own files have for
 * growing past 4 GiB. So a streamed stem is the same file as a downloaded one, to the last byte.
 *
 * @param {import("mismo-client").StemFormat} format PCM
 */
export function stemHeader(format) {
  const plain = wavHeader(format, format.totalFrames);
  const junk = Buffer.alloc(CHUNK_HEADER_BYTES + RESERVED_BYTES);
  junk.write("JUNK", 0, "latin1");
  junk.writeUInt32LE(RESERVED_BYTES, 4);
  // RIFF counts all but its own first eight bytes.
  plain.writeUInt32LE(plain.readUInt32LE(4) + junk.length, 4);
  return Buffer.concat([plain.subarray(0, RIFF_BYTES), junk, plain.subarray(RIFF_BYTES)]);
}
