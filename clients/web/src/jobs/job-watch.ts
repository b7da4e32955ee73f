/** Watches one job to its end. */

import type { MismoClient } from "../client.js";
import { Emitter } from "../events.js";
import type { Job, Progress } from "../generated/mismo/analysis/v1/job_pb.js";
import { JobService, type WatchJobResponse } from "../generated/mismo/analysis/v1/job_service_pb.js";
import type { StageStatus } from "../generated/mismo/analysis/v1/stage_pb.js";
import { type Range, RangeSet } from "../ranges.js";
import { errorOf, type MismoError } from "../rpc/errors.js";
import { resumed } from "../rpc/resumed.js";
import { type ConnectionDetail, SILENCE_SECONDS } from "./jobs-watch.js";

/** Details of the events of a JobWatch. */
export interface JobWatchEvents {
  /** The whole job; first, and again after some reconnections. */
  snapshot: { job: Job };
  /** A stage began, ended or is tried again; `job.stages` has it. */
  stage: { stage: StageStatus };
  progress: { progress: Progress };
  /** Frames that became final in all stems; `ready` has all of them. */
  segmentready: { ranges: Range[]; runId: string };
  /** The last event: the job as it ended. */
  terminal: { job: Job };
  connection: ConnectionDetail;
  /** The watch has ended with an error that does not pass by waiting, such as RUN_REPLACED or JOB_NOT_FOUND. */
  error: { error: MismoError };
}

/** What to watch. */
export interface JobWatchOptions {
  jobId: string;
  /** The run to watch; by default the newest at the start. */
  runId?: string;
}

/** One run of a job, kept up to date over broken connections and restarts of the server. */
export class JobWatch extends Emitter<JobWatchEvents> {
  /** The job in its newest known state; undefined before the first event. */
  job: Job | undefined;
  /** The frames that are final in all stems. */
  readonly ready = new RangeSet();
  readonly #client: MismoClient;
  readonly #jobId: string;
  readonly #ending = new AbortController();
  #runId: string;
  #revision = 0n;
  #epoch = "";
  #started = false;

  constructor(client: MismoClient, options: JobWatchOptions) {
    super();
    this.#client = client;
    this.#jobId = options.jobId;
    this.#runId = options.runId ?? "";
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
    try {
      const messages = resumed({
        url: this.#client.baseUrl,
        method: JobService.method.watchJob,
        request: () => ({
          jobId: this.#jobId,
          expectedRunId: this.#runId,
          afterRevision: this.#revision,
          serverEpoch: this.#epoch,
        }),
        signal,
        silenceSeconds: SILENCE_SECONDS,
        onOpen: () => this.emit("connection", { state: "open" }),
        onLost: (error) => this.emit("connection", { state: "lost", error }),
      });
      for await (const message of messages) {
        if (signal.aborted) return;
        this.#receive(message);
      }
    } catch (cause) {
      if (!signal.aborted) this.emit("error", { error: errorOf(cause) });
    }
  }

  #receive({ revision, serverEpoch, event }: WatchJobResponse): void {
    this.#epoch = serverEpoch;
    // A restarted server may continue from an earlier revision, which its snapshot has.
    if (event.case === "snapshot" || revision > this.#revision) this.#revision = revision;
    switch (event.case) {
      case "snapshot":
        this.#setJob(event.value);
        this.emit("snapshot", { job: event.value });
        break;
      case "stage":
        this.#setStage(event.value);
        this.emit("stage", { stage: event.value });
        break;
      case "progress":
        if (this.job !== undefined) this.job.progress = event.value;
        this.emit("progress", { progress: event.value });
        break;
      case "segmentReady": {
        const ranges = event.value.ranges.map(({ startFrame, endFrame }) => ({
          start: Number(startFrame),
          end: Number(endFrame),
        }));
        for (const { start, end } of ranges) this.ready.add(start, end);
        this.emit("segmentready", { ranges, runId: event.value.runId });
        break;
      }
      case "terminal":
        if (event.value.job !== undefined) {
          this.#setJob(event.value.job);
          this.emit("terminal", { job: event.value.job });
        }
        break;
    }
  }

  #setJob(job: Job): void {
    this.job = job;
    this.#runId = job.runId;
    for (const range of job.stemSet?.ready ?? []) {
      this.ready.add(Number(range.startFrame), Number(range.endFrame));
    }
  }

  #setStage(stage: StageStatus): void {
    const stages = this.job?.stages ?? [];
    const at = stages.findIndex((known) => known.stage === stage.stage);
    if (at >= 0) stages[at] = stage;
    else stages.push(stage);
  }
}
