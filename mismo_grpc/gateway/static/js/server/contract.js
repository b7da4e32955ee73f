/** The numbers of the contract's enums (protos/), so that modules without the client can be tested alone. */

export const JobState = Object.freeze({ QUEUED: 1, RUNNING: 2, SUCCEEDED: 3, FAILED: 4, CANCELLED: 5 });

export const Priority = Object.freeze({ LOW: 1, NORMAL: 2, HIGH: 3 });

export const Stage = Object.freeze({
  DECODE: 1, STEMS: 2, WAVEFORMS: 3, LOUDNESS: 4, BASIC_FEATURES: 5, CHARACTERISTICS: 6, GENRE: 7, SECTIONS: 8, CHORDS: 9,
  TRANSITION: 10, GENERATION: 11, ANNOTATION: 12, BLOB_UPLOAD: 13,
});

export const StageState = Object.freeze({ PENDING: 1, RUNNING: 2, SUCCEEDED: 3, FAILED: 4, CANCELLED: 5, SKIPPED: 6 });

export const ModelState = Object.freeze({ WARM: 1, AVAILABLE: 2, UNAVAILABLE: 3 });

export const Encoding = Object.freeze({ PCM_S16LE: 1, PCM_S24LE: 2, PCM_F32LE: 3 });

export const SectionRole = Object.freeze({ INTRO: 1, OUTRO: 2, BREAKDOWN: 3, DROP: 4 });

/** @param {{state: number} | undefined} job */
export function hasEnded(job) {
  return job !== undefined && job.state >= JobState.SUCCEEDED;
}

/**
 * Whether a job makes stems; others only find things in the music.
 * @param {{stages?: {stage: number}[]} | undefined} job
 */
export function makesStems(job) {
  return !job?.stages?.length || job.stages.some(({ stage }) => stage === Stage.STEMS || stage === Stage.GENERATION);
}

/**
 * Seconds of a protobuf Duration or Timestamp; undefined without one.
 * @param {{seconds: bigint | number, nanos: number} | undefined} time
 */
export function secondsOf(time) {
  return time ? Number(time.seconds) + time.nanos / 1e9 : undefined;
}

/**
 * A protobuf Duration.
 * @param {number} seconds
 */
export function durationOf(seconds) {
  const whole = Math.floor(seconds);
  return { seconds: BigInt(whole), nanos: Math.round((seconds - whole) * 1e9) % 1_000_000_000 };
}

/**
 * One stage of a job.
 * @template {{stage: number}} Status
 * @param {{stages: Status[]} | undefined} job
 * @param {number} stage
 */
export function stageOf(job, stage) {
  return job?.stages.find((status) => status.stage === stage);
}

/**
 * The result of one stage of a job; undefined while there is none.
 * @param {{stages: {stage: number, result?: {case?: string, value?: any}}[]} | undefined} job
 * @param {number} stage
 */
export function resultOf(job, stage) {
  return stageOf(job, stage)?.result?.value;
}
