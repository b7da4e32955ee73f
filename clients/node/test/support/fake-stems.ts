/** Stems whose samples encode their stem and frame, and the messages that contain them. */

import { createHash } from "node:crypto";

import { crc32c, Encoding } from "mismo-client";

import {
  type StreamOpen,
  StreamStemsResponse,
  type StreamSeek,
  type StreamStemsRequest,
} from "#dist/generated/mismo/analysis/v1/transfer_service.js";

export const JOB = "song";
export const RUN = "run-1";
export const STEMS = ["bass", "drums"];
export const TOTAL_FRAMES = 60_000;
export const RATE = 10_000;
const FRAME_BYTES = 4;

/** Frames [start, end) of a stem. */
export function samples(stemIndex: number, start: number, end: number): Buffer {
  const data = Buffer.alloc((end - start) * FRAME_BYTES);
  for (let frame = start; frame < end; frame++) data.writeUInt32LE(frame * 2 + stemIndex, (frame - start) * FRAME_BYTES);
  return data;
}

export function streamInfo(runId = RUN) {
  return {
    ...{ jobId: JOB, runId, serverEpoch: "epoch", model: "mismo_lite", encoding: Encoding.PCM_S16LE },
    ...{ stemNames: STEMS, totalFrames: TOTAL_FRAMES, sampleRate: RATE, channels: 2, bitsPerSample: 16 },
    ...{ codecHeader: Buffer.alloc(0), chunkBytes: 65_536, maxChunkFrames: 16_384, segmentFrames: 30_000 },
    idleTimeout: { seconds: 300, nanos: 0 },
  };
}

export const info = (runId?: string): StreamStemsResponse => ({
  message: { $case: "info", value: streamInfo(runId) },
});

export function chunk(stemIndex: number, start: number, end: number, generation = 0): StreamStemsResponse {
  const data = samples(stemIndex, start, end);
  const value = { stemIndex, generation, sequence: 0, startFrame: start, frameCount: end - start, data };
  return { message: { $case: "chunk", value: { ...value, crc32c: crc32c(data) } } };
}

/** The same frames of both stems. */
export const round = (start: number, end: number, generation = 0): StreamStemsResponse[] =>
  STEMS.map((_, stemIndex) => chunk(stemIndex, start, end, generation));

/** The messages that follow the audio from `start` to the end. */
export function ending(start: number, generation = 0, stemSha256 = ""): StreamStemsResponse[] {
  const ends = STEMS.map((_, stemIndex) => {
    const sha256 = createHash("sha256").update(samples(stemIndex, start, TOTAL_FRAMES)).digest("hex");
    const value = { stemIndex, generation, sha256, startFrame: start, stemSha256 };
    return StreamStemsResponse.fromPartial({ message: { $case: "endOfStem", value } });
  });
  return [...ends, { message: { $case: "end", value: { generation } } }];
}

export const seekApplied = (generation: number, startFrame: number): StreamStemsResponse => ({
  message: { $case: "seekApplied", value: { generation, startFrame } },
});

export const seekRefused = (generation: number, message = "past the end"): StreamStemsResponse => ({
  message: { $case: "seekRefused", value: { generation, message } },
});

/** Returns the message of a client. Throws unless it is of this kind. */
export function sent<Kind extends NonNullable<StreamStemsRequest["message"]>["$case"]>(
  kind: Kind,
  { message }: StreamStemsRequest,
): Extract<NonNullable<StreamStemsRequest["message"]>, { $case: Kind }>["value"] {
  if (message?.$case !== kind) throw new Error(`${message?.$case} instead of ${kind}`);
  return message.value as never;
}

export type { StreamOpen, StreamSeek };
