/** A job's events, each exactly once, over broken streams and restarted servers. */

import { status } from "@grpc/grpc-js";

import type { Connection } from "./connection.js";
import { duration } from "./durations.js";
import { MismoError } from "./errors.js";
import type { FrameRange } from "./generated/mismo/analysis/v1/audio.js";
import type { Job, Progress, StageStatus } from "./generated/mismo/analysis/v1/job.js";
import { WatchJobRequest, type WatchJobResponse } from "./generated/mismo/analysis/v1/job_service.js";
import { unbroken } from "./unbroken.js";
import { wholeNumber } from "./whole-number.js";

/** What every event has. */
interface EventOrigin {
  /** The job's revision as of this event; with `serverEpoch` it lets a later watch go on from here. */
  readonly revision: number;
  readonly serverEpoch: string;
  readonly time: Date;
}

/** Something that happened to a job. */
export type JobEvent = EventOrigin &
  (
    | { readonly type: "snapshot"; readonly job: Job }
    | { readonly type: "stage"; readonly stage: StageStatus }
    | { readonly type: "progress"; readonly progress: Progress }
    /** Frames of all asked stems that became final. */
    | { readonly type: "segmentReady"; readonly ranges: FrameRange[] }
    | { readonly type: "heartbeat" }
    /** The last one: the job as it ended. */
    | { readonly type: "terminal"; readonly job: Job }
  );

/** How to watch; times in seconds. */
export interface WatchOptions {
  /** Go on after an event seen earlier; 0: from a snapshot. */
  afterRevision?: number;
  /** That event's `serverEpoch`. */
  serverEpoch?: string;
  /** How often the server shows that it lives when nothing happens (10 s; 1 s to 60 s). */
  heartbeatInterval?: number;
  /** The connection is replaced when nothing came for this long (twice the interval and 5 s). */
  heartbeatTimeout?: number;
  /** No two progress events closer than this; unset: the server's default. */
  minProgressInterval?: number;
  /** Hand out heartbeats too (false). */
  heartbeats?: boolean;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/** Progress is a sample of the moment: it repeats its revision, and a resumed stream may send it again. */
const REPLAYED_EVENTS: ReadonlySet<string> = new Set(["stage", "segmentReady"]);

const DEFAULT_HEARTBEAT = 10;

/** Yields events until the terminal one. Throws MismoError, or the signal's reason. */
export async function* watchJob(
  connection: Connection,
  jobId: string,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<JobEvent, void> {
  const attempts = connection.settings.streamAttempts();
  const heartbeat = options.heartbeatInterval ?? DEFAULT_HEARTBEAT;
  let revision = wholeNumber("afterRevision", options.afterRevision ?? 0);
  let epoch = options.serverEpoch ?? "";
  let seen = revision;
  const request = (): WatchJobRequest =>
    WatchJobRequest.fromPartial({
      jobId,
      afterRevision: revision,
      serverEpoch: epoch,
      heartbeatInterval: duration(heartbeat),
      minProgressInterval: duration(options.minProgressInterval),
    });
  for (;;) {
    const messages = unbroken<WatchJobResponse>({
      connection,
      attempts,
      signal,
      patience: options.heartbeatTimeout ?? 2 * heartbeat + 5,
      begin: (stubs) => {
        seen = revision;
        return stubs.jobs.watchJob(request());
      },
    });
    for await (const message of messages) {
      const event = typed(message);
      if (event === undefined) continue;
      // Within the epoch, what a resumed stream repeats is known already.
      const repeated = REPLAYED_EVENTS.has(event.type) && event.serverEpoch === epoch && event.revision <= seen;
      epoch = event.serverEpoch;
      if (event.type === "snapshot") {
        // It holds all up to its revision, and a restarted server may count on from an earlier one.
        revision = seen = event.revision;
      } else {
        attempts.progressed();
        revision = Math.max(revision, event.revision);
      }
      if (!repeated && (event.type !== "heartbeat" || options.heartbeats)) yield event;
      if (event.type === "terminal") return;
    }
    await attempts.after(new MismoError(status.UNAVAILABLE, `the events of job ${jobId} stopped`), signal, "stream");
  }
}

/** Undefined for a kind of event that this version does not know. */
function typed(message: WatchJobResponse): JobEvent | undefined {
  const { revision, serverEpoch, event } = message;
  const origin: EventOrigin = { revision, serverEpoch, time: message.time ?? new Date(0) };
  switch (event?.$case) {
    case "snapshot":
      return { ...origin, type: "snapshot", job: event.value };
    case "stage":
      return { ...origin, type: "stage", stage: event.value };
    case "progress":
      return { ...origin, type: "progress", progress: event.value };
    case "segmentReady":
      return { ...origin, type: "segmentReady", ranges: event.value.ranges };
    case "heartbeat":
      return { ...origin, type: "heartbeat" };
    case "terminal":
      if (event.value.job === undefined) throw new MismoError(status.INTERNAL, "a terminal event without its job");
      return { ...origin, type: "terminal", job: event.value.job };
    case undefined:
      return undefined;
  }
}
