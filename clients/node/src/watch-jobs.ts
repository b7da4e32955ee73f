/** The changes of all jobs that match a filter, in one stream that goes on from a cursor. */

import { status } from "@grpc/grpc-js";

import type { Job, JobState, Progress } from "./generated/mismo/analysis/v1/job.js";
import { WatchJobsRequest, type WatchJobsResponse } from "./generated/mismo/analysis/v1/job_service.js";
import { Heartbeat, type HeartbeatOptions } from "./heartbeat.js";
import type { Connection } from "./rpc/connection.js";
import { duration } from "./rpc/durations.js";
import { MismoError } from "./rpc/errors.js";
import { reconnectingStream } from "./rpc/reconnecting-stream.js";

/** What every event has. */
interface EventOrigin {
  /** Where to go on after this event. Store it once the event is handled; it stays valid over restarts. */
  readonly cursor: string;
  readonly time: Date;
}

/** Something that happened to one of the jobs, or to the stream. */
export type JobsEvent = EventOrigin &
  (
    /** A job that is new or has changed, in its newest state. */
    | { readonly type: "job"; readonly job: Job }
    /** A job that was deleted or has expired, whether or not it was seen before. */
    | { readonly type: "deleted"; readonly jobId: string; readonly runId: string }
    | { readonly type: "progress"; readonly jobId: string; readonly runId: string; readonly progress: Progress }
    /** All that had changed before the stream was opened has come; again whenever it was opened anew. */
    | { readonly type: "caughtUp" }
    | { readonly type: "heartbeat" }
    /**
     * The cursor was too old, or of another job store: all jobs that match come anew, up to the next `caughtUp`. A job
     * that is not among them no longer exists or no longer matches.
     */
    | { readonly type: "cursorExpired" }
  );

/** Which jobs to watch, and how; times in seconds. */
export interface WatchJobsOptions extends HeartbeatOptions {
  /** Any of these; all if empty. */
  states?: readonly JobState[];
  /** All of these. */
  labels?: Readonly<Record<string, string>>;
  /** Of the last event that was handled, also by an earlier program; unset: begin with all jobs that match. */
  cursor?: string;
  /** Least time between two progress events of one job; unset: the server's default. */
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
  // The consumer has handled an event when it asks for the next one, which is before anything is opened again.
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
        // A stream that only ever catches up with nothing is not worth endless attempts.
        if (event?.type !== "caughtUp" || event.cursor !== cursor) attempts.progressed();
        if (event !== undefined && (event.type !== "heartbeat" || heartbeat.isHandedOut)) yield event;
        cursor = message.cursor || cursor;
      }
    } catch (error) {
      if (!(error instanceof MismoError) || error.reason !== CURSOR_EXPIRED || cursor === "") throw error;
      cursor = "";
      yield { cursor, time: new Date(), type: "cursorExpired" };
      continue;
    }
    await attempts.after(new MismoError(status.UNAVAILABLE, "the changes of jobs stopped"), signal, "stream");
  }
}

/** Undefined for a kind of event that this version does not know. */
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
