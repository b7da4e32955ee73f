/** Puts the services together. */

import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";

import express from "express";

import { Analysis } from "./analysis.service.js";
import { AnalysisCallbacks } from "./analysisCallback.service.js";
import { AnalysisQueue } from "./analysisQueue.service.js";
import { AnalysisServer } from "./analysisServer.service.js";
import { AudioEngines } from "./audioEngine.service.js";
import { GrpcClient } from "./grpcClient.service.js";
import { JobTable } from "./jobTable.service.js";
import { JobUpdates } from "./jobUpdates.service.js";
import { Library } from "./library.service.js";
import { PythonClient } from "./pythonClient.service.js";
import { answerErrors, routes } from "./routes.js";
import { StemFiles } from "./stemFiles.service.js";

export class AppServer {
  #config;
  #log;
  #http;
  #library = new Library();
  #server;
  #stemFiles;
  #grpc;
  #updates;
  #queue;
  #engines;

  /** @param {import("./config.js").Config} config */
  static async create(config, log) {
    const path = join(config.dataDir, "analysis-jobs.json");
    return new AppServer(config, config.mode === "grpc" ? await JobTable.open(path, log) : undefined, log);
  }

  /** Use `create`. */
  constructor(config, table, log) {
    this.#config = config;
    this.#log = log;
    const library = this.#library;
    this.#server = new AnalysisServer({ config: config.python, allowedPaths: () => library.directories, log });
    this.#stemFiles = new StemFiles({ keepMs: config.stemsKeepMs, log });
    if (config.mode === "grpc") {
      const grpc = new GrpcClient(config.grpcAddress, config.instanceName, log);
      const { retryDelayMs } = config.queue;
      this.#grpc = grpc;
      this.#updates = new JobUpdates({ watchJobs: (options) => grpc.watchJobs(options), table, retryDelayMs, log });
    }
    const callbacks = new AnalysisCallbacks({ secret: config.callbackSecret, stemFiles: this.#stemFiles, log });
    const analysis = new Analysis({
      config,
      python: new PythonClient(config.python.url, { basicFeatures: config.basicFeatures }),
      grpc: this.#grpc,
      updates: this.#updates,
      callbacks,
      stemFiles: this.#stemFiles,
      callbackUrl: () => `${config.publicUrl || this.url}/api/analysis/callback`,
      log,
    });
    this.#queue = new AnalysisQueue({
      run: (job, signal) => analysis.separate(job, signal),
      abandon: (job) => void analysis.abandon(job),
      ready: (signal) => this.#server.whenHealthy(signal),
      options: config.queue,
      log,
    });
    this.#engines = new AudioEngines({ library, queue: this.#queue, log });
    const app = express();
    app.disable("x-powered-by");
    app.use("/api", routes({ server: this.#server, queue: this.#queue, callbacks, library, table }));
    app.use(answerErrors(log));
    this.#http = createServer(app);
  }

  /** Once it listens. */
  get url() {
    const { address, family, port } = this.#http.address();
    return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  }

  /** Listens; the analysis server comes up behind that. */
  async start() {
    for (const directory of this.#config.libraryDirs) await this.#library.add(directory);
    this.#http.listen(this.#config.port, this.#config.host);
    await once(this.#http, "listening");
    this.#engines.attach(this.#http);
    this.#log.info(`App server listens on ${this.url} (${this.#config.mode})`);
    this.#updates?.start();
    void this.#server.initialize();
  }

  async stop() {
    this.#queue.close();
    this.#engines.close();
    await this.#updates?.close();
    this.#grpc?.close();
    this.#http.close();
    await this.#server.stop();
    this.#http.closeAllConnections();
    this.#stemFiles.close();
  }
}
