/** Format of streamed stems, and the WAV header of their PCM. */

import { Encoding } from "../generated/mismo/analysis/v1/audio.js";
import type { StreamInfo } from "../generated/mismo/analysis/v1/transfer_service.js";
import { seconds } from "../rpc/durations.js";
import { wholeNumber } from "../rpc/whole-number.js";

/** Format of the stems of a stream. */
export interface StemFormat {
  readonly jobId: string;
  /** The run of the audio; it does not change during a stream. */
  readonly runId: string;
  /** The model that separates the track. */
  readonly model: string;
  readonly encoding: Encoding;
  /** Indexed by the `stemIndex` of a chunk. */
  readonly stemNames: readonly string[];
  /** Length of each stem. */
  readonly totalFrames: number;
  /** Hz. */
  readonly sampleRate: number;
  readonly channels: number;
  /** Bits of a decoded sample: 16, 24 or 32 (float) for PCM, 16 or 24 for FLAC. */
  readonly bitsPerSample: number;
  /** The FLAC stream header, which precedes the first chunk of each stem. Empty for PCM. */
  readonly codecHeader: Buffer;
  /** Most payload bytes of a chunk; FLAC chunks may have one FLAC frame more. */
  readonly chunkBytes: number;
  /** Most frames of a chunk. */
  readonly maxChunkFrames: number;
  /** Frames of one segment of the model, at `sampleRate`. */
  readonly segmentFrames: number;
  /** Seconds of a pause after which the server ends the stream, which the client reopens; undefined: never. */
  readonly idleTimeout: number | undefined;
}

/** Converts the first message of a stream. */
export function stemFormat(info: StreamInfo): StemFormat {
  const { jobId, runId, model, encoding, stemNames, totalFrames, sampleRate, channels } = info;
  const { bitsPerSample, codecHeader, chunkBytes, maxChunkFrames, segmentFrames } = info;
  return {
    ...{ jobId, runId, model, encoding, stemNames, totalFrames, sampleRate, channels },
    ...{ bitsPerSample, codecHeader, chunkBytes, maxChunkFrames, segmentFrames },
    idleTimeout: info.idleTimeout && seconds(info.idleTimeout),
  };
}

/** Tells whether a reopened stream continues the same run in the same format. */
export function isSameRun(a: StemFormat, b: StemFormat): boolean {
  return (
    a.runId === b.runId &&
    a.encoding === b.encoding &&
    a.totalFrames === b.totalFrames &&
    a.sampleRate === b.sampleRate &&
    a.channels === b.channels &&
    a.stemNames.join("\0") === b.stemNames.join("\0") &&
    a.codecHeader.equals(b.codecHeader)
  );
}

/** Format of PCM frames. A StemFormat and the `stemSet` of a job have it. */
export type PcmFormat = Pick<StemFormat, "encoding" | "sampleRate" | "channels">;

const SAMPLE_BYTES: Partial<Record<Encoding, number>> = {
  [Encoding.PCM_S16LE]: 2,
  [Encoding.PCM_S24LE]: 3,
  [Encoding.PCM_F32LE]: 4,
};

/** Returns the bytes of one PCM frame over all channels. Throws RangeError for FLAC. */
export function frameBytes(format: Pick<PcmFormat, "encoding" | "channels">): number {
  const sampleBytes = SAMPLE_BYTES[format.encoding];
  if (sampleBytes === undefined) throw new RangeError(`${Encoding[format.encoding]} has no fixed frame size`);
  return sampleBytes * format.channels;
}

const HEADER_BYTES = 44;
const LARGEST_RIFF = 0xffff_ffff;
const WAVE_FORMAT_PCM = 1;
const WAVE_FORMAT_IEEE_FLOAT = 3;

/** Returns the 44-byte WAV header for `frames` frames of PCM. Throws RangeError for FLAC and over 4 GiB. */
export function wavHeader(format: PcmFormat, frames: number): Buffer {
  const bytesPerFrame = frameBytes(format);
  const dataBytes = wholeNumber("frames", frames) * bytesPerFrame;
  if (dataBytes + HEADER_BYTES > LARGEST_RIFF) throw new RangeError("a WAV file holds at most 4 GiB");
  const header = Buffer.alloc(HEADER_BYTES);
  header.write("RIFF", 0, "latin1");
  // RIFF pads chunks to an even size.
  header.writeUInt32LE(dataBytes + (dataBytes % 2) + HEADER_BYTES - 8, 4);
  header.write("WAVEfmt ", 8, "latin1");
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(format.encoding === Encoding.PCM_F32LE ? WAVE_FORMAT_IEEE_FLOAT : WAVE_FORMAT_PCM, 20);
  header.writeUInt16LE(format.channels, 22);
  header.writeUInt32LE(format.sampleRate, 24);
  header.writeUInt32LE(format.sampleRate * bytesPerFrame, 28);
  header.writeUInt16LE(bytesPerFrame, 32);
  header.writeUInt16LE((bytesPerFrame / format.channels) * 8, 34);
  header.write("data", 36, "latin1");
  header.writeUInt32LE(dataBytes, 40);
  return header;
}
