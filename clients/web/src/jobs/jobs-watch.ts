/** Watches all jobs that match a filter. */

import type { MismoClient } from "../client.js";
import { Emitter } from "../events.js";
import type { Job, JobState, Progress } from "../generated/mismo/analysis/v1/job_pb.js";
import { JobService, type WatchJobsResponse } from "../generated/mismo/analysis/v1/job_service_pb.js";
import { errorOf, type MismoError } from "../rpc/errors.js";
import { resumed } from "../rpc/resumed.js";

/** The server sends a heartbeat at least every 10 s. */
export const SILENCE_SECONDS = 30;

/** The state of a watch's connection; `error` says why it was lost. */
export interface ConnectionDetail {
  state: "open" | "lost";
  error?: MismoError;
}

/** Details of the events of a JobsWatch. */
export interface JobsWatchEvents {
  /** A job is new or has changed; it is in `jobs`. */
  job: { job: Job };
  /** A running job goes on; its entry in `jobs` has the progress. */
  progress: { jobId: string; runId: string; progress: Progress };
  /** A job was deleted or has expired, or matches no more. */
  deleted: { jobId: string };
  /** `jobs` has everything that had changed before; also after each reconnection. */
  caughtup: undefined;
  connection: ConnectionDetail;
  /** The watch has ended with an error that does not pass by waiting. */
  error: { error: MismoError };
}

/** Which jobs to watch. */
export interface JobsWatchOptions {
  /** Jobs with all of these labels. */
  labels?: Record<string, string>;
  /** Jobs in any of these states; in every state if empty. */
  states?: JobState[];
}

/** The matching jobs, kept up to date over broken connections and restarts of the server. */
export class JobsWatch extends Emitter<JobsWatchEvents> {
  /** The jobs by id, in their newest state. */
  readonly jobs = new Map<string, Job>();
  readonly #client: MismoClient;
  readonly #options: JobsWatchOptions;
  readonly #ending = new AbortController();
  #cursor = "";
  #started = false;
  /** Jobs from before the cursor expired that have not been sent again. */
  #unconfirmed: Set<string> | undefined;

  constructor(client: MismoClient, options: JobsWatchOptions = {}) {
    super();
    this.#client = client;
    this.#options = options;
  }

  /** Begins to watch; events come from now on. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    void this.#run();
  }

  /** Ends the watch; no event comes any more. */
  close(): void {
    this.#ending.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        const messages = resumed({
          url: this.#client.baseUrl,
          method: JobService.method.watchJobs,
          request: () => ({ ...this.#options, cursor: this.#cursor }),
          signal,
          silenceSeconds: SILENCE_SECONDS,
          endless: true,
          onOpen: () => this.emit("connection", { state: "open" }),
          onLost: (error) => this.emit("connection", { state: "lost", error }),
        });
        for await (const message of messages) {
          if (signal.aborted) return;
          this.#receive(message);
        }
      } catch (cause) {
        if (signal.aborted) return;
        const error = errorOf(cause);
        if (error.reason !== "CURSOR_EXPIRED" || this.#cursor === "") {
          this.emit("error", { error });
          return;
        }
        this.#cursor = "";
        this.#unconfirmed = new Set(this.jobs.keys());
      }
    }
  }

  #receive({ cursor, event }: WatchJobsResponse): void {
    if (cursor !== "") this.#cursor = cursor;
    switch (event.case) {
      case "job":
        this.#unconfirmed?.delete(event.value.jobId);
        this.jobs.set(event.value.jobId, event.value);
        this.emit("job", { job: event.value });
        break;
      case "deleted":
        this.#delete(event.value.jobId, event.value.runId);
        break;
      case "progress":
        if (event.value.progress !== undefined) this.#progress(event.value.jobId, event.value.runId, event.value.progress);
        break;
      case "caughtUp":
        for (const jobId of this.#unconfirmed ?? []) this.#delete(jobId, "");
        this.#unconfirmed = undefined;
        this.emit("caughtup", undefined);
        break;
    }
  }

  #delete(jobId: string, runId: string): void {
    const job = this.jobs.get(jobId);
    // The end of a replaced run may come after the job of the new one.
    if (runId !== "" && job !== undefined && job.runId !== runId) return;
    this.jobs.delete(jobId);
    this.emit("deleted", { jobId });
  }

  #progress(jobId: string, runId: string, progress: Progress): void {
    const job = this.jobs.get(jobId);
    if (job?.runId === runId) job.progress = progress;
    this.emit("progress", { jobId, runId, progress });
  }
}
