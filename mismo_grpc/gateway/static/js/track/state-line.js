/** One sentence on what the track and the player do right now. */

import { clock, roughly } from "../format/time.js";
import { JobState, makesStems, secondsOf } from "../server/contract.js";
import { explained } from "../server/remedies.js";

/**
 * @param {{
 *   job?: any,
 *   connection: "open" | "lost",
 *   player?: {state: string, currentTime: number, notReady?: {reason: string, expectedSeconds?: number}},
 *   silenced?: boolean,
 * }} now silenced: the browser wants a click before it plays
 * @returns {{text: string, busy: boolean}}
 */
export function stateLine({ job, connection, player, silenced }) {
  if (!job) return { text: connection === "lost" ? "Waiting for the server" : "Loading the job", busy: true };
  if (job.state === JobState.FAILED) return { text: job.error ? explained(job.error) : "The job failed.", busy: false };
  if (job.state === JobState.CANCELLED) return { text: "Cancelled. Drop the track again to separate it.", busy: false };
  if (!makesStems(job)) return analysis(job);
  if (silenced) return { text: "Ready. Press Play (or the space bar) to listen.", busy: false };
  if (player?.state === "buffering" || player?.state === "opening") return { text: waiting(player, job), busy: true };
  if (job.state === JobState.QUEUED) return { text: queued(job), busy: true };
  if (job.state === JobState.RUNNING) return { text: running(job), busy: true };
  return { text: "All stems are ready.", busy: false };
}

/**
 * @param {{currentTime: number, notReady?: {reason: string, expectedSeconds?: number}}} player
 * @param {any} job
 */
function waiting({ currentTime, notReady }, job) {
  const sound = notReady?.expectedSeconds !== undefined ? `: sound in about ${roughly(notReady.expectedSeconds)}` : "";
  switch (notReady?.reason) {
    case "queued":
      return queued(job);
    case "decoding":
      return `Reading the track and loading the model${sound}`;
    case "separating":
      return `Separating around ${clock(currentTime)}${sound}`;
    case "waiting-for-device":
      return `Other segments go first${sound}`;
    default:
      return "Loading audio";
  }
}

/** A job that only finds things in the music. @param {any} job */
function analysis(job) {
  if (job.state === JobState.QUEUED) return { text: queued(job), busy: true };
  if (job.state === JobState.RUNNING) return { text: "Analysing", busy: true };
  return { text: "The analysis is ready. This job makes no stems to listen to.", busy: false };
}

/** @param {any} job */
function queued(job) {
  const position = job.progress?.queuePosition ?? 0;
  return position > 0 ? `In the queue, number ${position}` : "In the queue";
}

/** @param {any} job */
function running(job) {
  const { segmentsDone = 0, segmentsTotal = 0 } = job.progress ?? {};
  const eta = secondsOf(job.progress?.eta);
  if (!segmentsTotal) return "Reading the track";
  if (segmentsDone >= segmentsTotal) return "Finishing: analyses and files";
  return `Separating: ${segmentsDone} of ${segmentsTotal} segments${eta ? `, ${roughly(eta)} left` : ""}`;
}
