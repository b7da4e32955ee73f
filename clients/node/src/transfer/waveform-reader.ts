/** Reads the waveforms of a job's stems, also while the job runs. */

import { status } from "@grpc/grpc-js";

import {
  ReadWaveformRequest,
  type ReadWaveformResponse,
  type WaveformInfo,
  type WaveformRange as RangeMessage,
} from "../generated/mismo/analysis/v1/transfer_service.js";
import type { Connection } from "../rpc/connection.js";
import { MismoError, RunReplacedError } from "../rpc/errors.js";
import { reconnectingStream } from "../rpc/reconnecting-stream.js";
import { wholeNumber } from "../rpc/whole-number.js";
import { RangeSet } from "./range-set.js";

/** Options of reading the waveforms. */
export interface ReadWaveformOptions {
  /** Some of the job's stems; all if empty. */
  stems?: readonly string[];
  /** Frames of one pixel (256): a multiple of 256, at most 1048576. */
  framesPerPixel?: number;
  /** Continue with further pixels as they become final, until the stems are separated (false). */
  follow?: boolean;
  /** The run that the waveforms must belong to; unset: the newest. */
  expectedRunId?: string;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/** Consecutive pixels of one stem. */
export interface WaveformPixels {
  /** Format of the waveforms; the same for all pixels. */
  readonly waveform: WaveformInfo;
  readonly stemIndex: number;
  readonly stemName: string;
  readonly startPixel: number;
  /** Two values for each pixel: lowest and highest sample of its frames, of the mean over the channels. */
  readonly peaks: Int16Array;
}

const SAMPLE_BYTES = 2;
/** Bytes of one pixel: its lowest and its highest sample. */
const PIXEL_BYTES = 2 * SAMPLE_BYTES;

/** Yields each pixel once, in the order in which they become final. Throws MismoError, or the signal's reason. */
export async function* readWaveform(
  connection: Connection,
  jobId: string,
  options: ReadWaveformOptions,
  signal: AbortSignal,
): AsyncGenerator<WaveformPixels, void> {
  const attempts = connection.settings.streamAttempts();
  const stemNames = [...(options.stems ?? [])];
  const framesPerPixel = wholeNumber("framesPerPixel", options.framesPerPixel ?? 0);
  let runId = options.expectedRunId ?? "";
  let waveform: WaveformInfo | undefined;
  // A reopened stream begins with all final pixels again.
  const seen = new Map<number, RangeSet>();
  const messages = reconnectingStream<ReadWaveformResponse>({
    connection,
    attempts,
    signal,
    begin: (stubs) =>
      stubs.transfers.readWaveform(
        ReadWaveformRequest.fromPartial({
          ...{ jobId, expectedRunId: runId, stemNames, framesPerPixel },
          follow: options.follow ?? false,
        }),
      ),
  });
  for await (const { info, ranges } of messages) {
    if (info !== undefined) {
      if (runId !== "" && info.runId !== runId) {
        throw new RunReplacedError(`job ${jobId} was run again; read its waveforms again`);
      }
      runId = info.runId;
      waveform = info;
    }
    if (waveform === undefined) throw new MismoError(status.INTERNAL, "the waveforms did not begin with their format");
    for (const range of ranges) {
      const pixels = seen.get(range.stemIndex) ?? new RangeSet();
      seen.set(range.stemIndex, pixels);
      for (const [start, end] of pixels.add(range.startPixel, range.startPixel + range.peaks.length / PIXEL_BYTES)) {
        attempts.progressed();
        yield toPixels(waveform, range, start, end);
      }
    }
  }
}

function toPixels(waveform: WaveformInfo, range: RangeMessage, start: number, end: number): WaveformPixels {
  const { stemIndex, startPixel } = range;
  const bytes = range.peaks.subarray((start - startPixel) * PIXEL_BYTES, (end - startPixel) * PIXEL_BYTES);
  const length = bytes.length / SAMPLE_BYTES;
  const peaks = Int16Array.from({ length }, (_, index) => bytes.readInt16LE(index * SAMPLE_BYTES));
  return { waveform, stemIndex, stemName: waveform.stemNames[stemIndex] ?? "", startPixel: start, peaks };
}
