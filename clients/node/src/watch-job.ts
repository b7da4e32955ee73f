/** Watches one job: yields each event exactly once, across broken streams and server restarts. */

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

/** Fields of every event. */
interface EventOrigin {
  /** The job's revision after this event. With `serverEpoch` a later watch can continue from it. */
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
    /** Frames that became final in all requested stems. */
    | { readonly type: "segmentReady"; readonly ranges: FrameRange[]; readonly runId: string }
    | { readonly type: "heartbeat" }
    /** The last event, with the ended job. */
    | { readonly type: "terminal"; readonly job: Job }
  );

/** How to watch a job; times in seconds. */
export interface WatchOptions extends HeartbeatOptions {
  /** Continue after the event with this revision; 0: begin with a snapshot. */
  afterRevision?: number;
  /** `serverEpoch` of that event. */
  serverEpoch?: string;
  /** The run to watch; unset: the newest at the start of the watch. */
  expectedRunId?: string;
  /** Shortest time between two progress events; unset: the server's default. */
  minProgressInterval?: number;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/** Events that a resumed stream may repeat. Progress is not one: several progress events share one revision. */
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
      // Within one epoch the revision tells which events a resumed stream repeats.
      const repeated = REPLAYED_EVENTS.has(event.type) && event.serverEpoch === epoch && event.revision <= seen;
      epoch = event.serverEpoch;
      runId ||= runIdOf(event);
      if (event.type === "snapshot") {
        // A snapshot includes all earlier events. A restarted server may continue from an earlier revision.
        revision = seen = event.revision;
      } else {
        attempts.progressed();
        revision = Math.max(revision, event.revision);
      }
      if (!repeated && (event.type !== "heartbeat" || heartbeat.isYielded)) yield event;
      if (event.type === "terminal") return;
    }
    const ended = new MismoError(status.UNAVAILABLE, `the events of job ${jobId} stopped`);
    await attempts.waitAfter(ended, signal, "stream");
  }
}

/** Run of an event; "" if the event does not name it. */
function runIdOf(event: JobEvent): string {
  if (event.type === "segmentReady") return event.runId;
  return event.type === "snapshot" || event.type === "terminal" ? event.job.runId : "";
}

/** Converts a message; undefined for a kind of event that this version does not know. */
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
