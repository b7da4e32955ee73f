/** The events of one job, each exactly once, over broken streams and restarted servers. */

import { status } from "@grpc/grpc-js";

import type { FrameRange } from "./generated/mismo/analysis/v1/audio.js";
import type { Job, Progress } from "./generated/mismo/analysis/v1/job.js";
import { WatchJobRequest, type WatchJobResponse } from "./generated/mismo/analysis/v1/job_service.js";
import type { StageStatus } from "./generated/mismo/analysis/v1/stage.js";
import { Heartbeat, type HeartbeatOptions } from "./heartbeat.js";
import type { Connection } from "./rpc/connection.js";
import { duration } from "./rpc/durations.js";
import { MismoError } from "./rpc/errors.js";
import { reconnectingStream } from "./rpc/reconnecting-stream.js";
import { wholeNumber } from "./rpc/whole-number.js";

/** What every event has. */
interface EventOrigin {
  /** The job's revision as of this event; with `serverEpoch` a later watch can go on from here. */
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
    | { readonly type: "segmentReady"; readonly ranges: FrameRange[]; readonly runId: string }
    | { readonly type: "heartbeat" }
    /** The last one: the job as it ended. */
    | { readonly type: "terminal"; readonly job: Job }
  );

/** How to watch a job; times in seconds. */
export interface WatchOptions extends HeartbeatOptions {
  /** Go on after an event seen earlier; 0: begin with a snapshot. */
  afterRevision?: number;
  /** That event's `serverEpoch`. */
  serverEpoch?: string;
  /** The run to watch; unset: the newest as of now. */
  expectedRunId?: string;
  /** Least time between two progress events; unset: the server's default. */
  minProgressInterval?: number;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/** Progress is a sample of the moment: it repeats its revision, and a resumed stream may send it again. */
const REPLAYED_EVENTS: ReadonlySet<string> = new Set(["stage", "segmentReady"]);

/** Yields events until the terminal one. Throws MismoError, RunReplacedError, or the signal's reason. */
export async function* watchJob(
  connection: Connection,
  jobId: string,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<JobEvent, void> {
  const attempts = connection.settings.streamAttempts();
  const heartbeat = new Heartbeat(options);
  let runId = options.expectedRunId ?? "";
  let revision = wholeNumber("afterRevision", options.afterRevision ?? 0);
  let epoch = options.serverEpoch ?? "";
  let seen = revision;
  const request = (): WatchJobRequest =>
    WatchJobRequest.fromPartial({
      jobId,
      expectedRunId: runId,
      afterRevision: revision,
      serverEpoch: epoch,
      heartbeatInterval: heartbeat.interval,
      minProgressInterval: duration(options.minProgressInterval),
    });
  for (;;) {
    const messages = reconnectingStream<WatchJobResponse>({
      connection,
      attempts,
      signal,
      silenceTimeout: heartbeat.timeout,
      begin: (stubs) => {
        seen = revision;
        return stubs.jobs.watchJob(request());
      },
    });
    for await (const message of messages) {
      const event = toEvent(message);
      if (event === undefined) continue;
      // Within the epoch, what a resumed stream repeats is known already.
      const repeated = REPLAYED_EVENTS.has(event.type) && event.serverEpoch === epoch && event.revision <= seen;
      epoch = event.serverEpoch;
      runId ||= runIdOf(event);
      if (event.type === "snapshot") {
        // It holds everything up to its revision. A restarted server may count on from an earlier one.
        revision = seen = event.revision;
      } else {
        attempts.progressed();
        revision = Math.max(revision, event.revision);
      }
      if (!repeated && (event.type !== "heartbeat" || heartbeat.isHandedOut)) yield event;
      if (event.type === "terminal") return;
    }
    await attempts.after(new MismoError(status.UNAVAILABLE, `the events of job ${jobId} stopped`), signal, "stream");
  }
}

/** "" for an event that does not name its run. */
function runIdOf(event: JobEvent): string {
  if (event.type === "segmentReady") return event.runId;
  return event.type === "snapshot" || event.type === "terminal" ? event.job.runId : "";
}

/** Undefined for a kind of event that this version does not know. */
function toEvent(message: WatchJobResponse): JobEvent | undefined {
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
      return { ...origin, type: "segmentReady", ranges: event.value.ranges, runId: event.value.runId };
    case "heartbeat":
      return { ...origin, type: "heartbeat" };
    case "terminal":
      if (event.value.job === undefined) throw new MismoError(status.INTERNAL, "a terminal event without its job");
      return { ...origin, type: "terminal", job: event.value.job };
    case undefined:
      return undefined;
  }
}
