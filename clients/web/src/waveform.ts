/** The peaks of the stems for drawing, while the job runs and afterwards. */

import type { MismoClient } from "./client.js";
import { TransferService } from "./generated/mismo/analysis/v1/transfer_service_pb.js";
import type { MismoError } from "./rpc/errors.js";
import { resumed } from "./rpc/resumed.js";

/** The form of a waveform. */
export interface WaveformInfo {
  jobId: string;
  runId: string;
  /** In the order of `stem` of the ranges. */
  stemNames: string[];
  sampleRate: number;
  totalFrames: number;
  framesPerPixel: number;
  totalPixels: number;
}

/** Final pixels of one stem: the lowest and the highest sample of each, -32768 to 32767. */
export interface WaveformRange {
  /** Its place in `WaveformInfo.stemNames`. */
  stem: number;
  startPixel: number;
  min: Int16Array;
  max: Int16Array;
}

/** Options of `watchWaveform`. */
export interface WaveformOptions {
  /** A multiple of 256 up to 1048576; by default 1024. */
  framesPerPixel?: number;
  /** By default all. */
  stemNames?: string[];
  /** The run; by default the newest. */
  runId?: string;
  /** Called before the first range of each connection. */
  onInfo?: (info: WaveformInfo) => void;
  /** Called for each range as it becomes final; after a lost connection ranges come again. */
  onRange: (range: WaveformRange) => void;
  onLost?: (error: MismoError) => void;
  signal?: AbortSignal;
}

/** Calls back for each range until the waveform is whole. Throws MismoError, such as JOB_FAILED or RUN_REPLACED. */
export async function watchWaveform(client: MismoClient, jobId: string, options: WaveformOptions): Promise<void> {
  let expectedRunId = options.runId ?? "";
  const messages = resumed({
    url: client.baseUrl,
    method: TransferService.method.readWaveform,
    request: () => ({
      jobId,
      expectedRunId,
      stemNames: options.stemNames ?? [],
      framesPerPixel: options.framesPerPixel ?? 1024,
      follow: true,
    }),
    signal: options.signal ?? new AbortController().signal,
    ...(options.onLost && { onLost: options.onLost }),
  });
  for await (const { info, ranges } of messages) {
    if (info !== undefined) {
      expectedRunId = info.runId;
      const { stemNames, sampleRate, framesPerPixel, runId } = info;
      const [totalFrames, totalPixels] = [Number(info.totalFrames), Number(info.totalPixels)];
      options.onInfo?.({ jobId, runId, stemNames, sampleRate, totalFrames, framesPerPixel, totalPixels });
    }
    for (const { stemIndex, startPixel, peaks } of ranges) {
      options.onRange({ stem: stemIndex, startPixel: Number(startPixel), ...split(peaks) });
    }
  }
}

function split(peaks: Uint8Array): { min: Int16Array; max: Int16Array } {
  const view = new DataView(peaks.buffer, peaks.byteOffset, peaks.byteLength);
  const count = peaks.byteLength >> 2;
  const [min, max] = [new Int16Array(count), new Int16Array(count)];
  for (let pixel = 0; pixel < count; pixel++) {
    min[pixel] = view.getInt16(4 * pixel, true);
    max[pixel] = view.getInt16(4 * pixel + 2, true);
  }
  return { min, max };
}
