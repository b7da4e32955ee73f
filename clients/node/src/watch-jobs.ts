/** Watches all jobs that match a filter, in one stream that continues from a cursor. */

import { status } from "@grpc/grpc-js";

import type { Job, JobState, Progress } from "./generated/mismo/analysis/v1/job.js";
import { WatchJobsRequest, type WatchJobsResponse } from "./generated/mismo/analysis/v1/job_service.js";
import { Heartbeat, type HeartbeatOptions } from "./heartbeat.js";
import type { Connection } from "./rpc/connection.js";
import { duration } from "./rpc/durations.js";
import { MismoError } from "./rpc/errors.js";
import { reconnectingStream } from "./rpc/reconnecting-stream.js";

/** Fields of every event. */
interface EventOrigin {
  /** Continues after this event. Store it once the event is handled; it survives restarts of the server. */
  readonly cursor: string;
  readonly time: Date;
}

/** A change of one of the jobs, or of the stream. */
export type JobsEvent = EventOrigin &
  (
    /** A new or changed job in its newest state. */
    | { readonly type: "job"; readonly job: Job }
    /** A job that was deleted or has expired, whether or not an earlier event reported it. */
    | { readonly type: "deleted"; readonly jobId: string; readonly runId: string }
    | { readonly type: "progress"; readonly jobId: string; readonly runId: string; readonly progress: Progress }
    /** All changes from before the stream was opened have been sent. Repeated after each reconnection. */
    | { readonly type: "caughtUp" }
    | { readonly type: "heartbeat" }
    /**
     * The cursor is too old or belongs to another job store. All matching jobs follow, up to the next `caughtUp`. A
     * job that is not among them no longer exists or no longer matches.
     */
    | { readonly type: "cursorExpired" }
  );

/** Which jobs to watch, and how; times in seconds. */
export interface WatchJobsOptions extends HeartbeatOptions {
  /** Jobs in any of these states; in every state if empty. */
  states?: readonly JobState[];
  /** Jobs with all of these labels. */
  labels?: Readonly<Record<string, string>>;
  /** Cursor of the last event that was handled, by this or an earlier process; unset: begin with all matching jobs. */
  cursor?: string;
  /** Shortest time between two progress events of one job; unset: the server's default. */
  minProgressInterval?: number;
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

const CURSOR_EXPIRED = "CURSOR_EXPIRED";

/** Yields events until the consumer leaves. Throws MismoError, or the signal's reason. */
export async function* watchJobs(
  connection: Connection,
  options: WatchJobsOptions,
  signal: AbortSignal,
): AsyncGenerator<JobsEvent, void> {
  const attempts = connection.settings.streamAttempts();
  const heartbeat = new Heartbeat(options);
  // The consumer has handled an event when it requests the next one, so the cursor moves after `yield`.
  let cursor = options.cursor ?? "";
  const request = (): WatchJobsRequest =>
    WatchJobsRequest.fromPartial({
      states: [...(options.states ?? [])],
      labels: { ...options.labels },
      cursor,
      heartbeatInterval: heartbeat.interval,
      minProgressInterval: duration(options.minProgressInterval),
    });
  for (;;) {
    try {
      const messages = reconnectingStream<WatchJobsResponse>({
        connection,
        attempts,
        signal,
        silenceTimeout: heartbeat.timeout,
        begin: (stubs) => stubs.jobs.watchJobs(request()),
      });
      for await (const message of messages) {
        const event = toEvent(message, cursor);
        // A stream that delivers nothing but `caughtUp` with the same cursor must not reset the retry limit.
        if (event?.type !== "caughtUp" || event.cursor !== cursor) attempts.progressed();
        if (event !== undefined && (event.type !== "heartbeat" || heartbeat.isYielded)) yield event;
        cursor = message.cursor || cursor;
      }
    } catch (error) {
      if (!(error instanceof MismoError) || error.reason !== CURSOR_EXPIRED || cursor === "") throw error;
      cursor = "";
      yield { cursor, time: new Date(), type: "cursorExpired" };
      continue;
    }
    await attempts.waitAfter(new MismoError(status.UNAVAILABLE, "the changes of jobs stopped"), signal, "stream");
  }
}

/** Converts a message; undefined for a kind of event that this version does not know. */
function toEvent(message: WatchJobsResponse, cursorBefore: string): JobsEvent | undefined {
  const { event } = message;
  const origin: EventOrigin = { cursor: message.cursor || cursorBefore, time: message.time ?? new Date(0) };
  switch (event?.$case) {
    case "job":
      return { ...origin, type: "job", job: event.value };
    case "deleted":
      return { ...origin, type: "deleted", jobId: event.value.jobId, runId: event.value.runId };
    case "progress": {
      const { jobId, runId, progress } = event.value;
      return progress && { ...origin, type: "progress", jobId, runId, progress };
    }
    case "caughtUp":
      return { ...origin, type: "caughtUp" };
    case "heartbeat":
      return { ...origin, type: "heartbeat" };
    case undefined:
      return undefined;
  }
}
