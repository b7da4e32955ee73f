/** The life of the Python analysis server: started, watched, restarted, stopped. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const HEALTH_POLL_MS = 500;
const HEALTH_TIMEOUT_MS = 2000;
/** SIGTERM, then so long, then SIGKILL. */
const GRACE_MS = 5000;
/** Restarts come 1, 2, 4, ... times `restartDelayMs` after a crash, this at most. */
const LONGEST_RESTART_DELAY_MS = 30_000;
/** Crashes in a row after which only a person starts it again. */
const MOST_RESTARTS = 8;
/** A server that lived so long has recovered: its next crash counts as the first. */
const STEADY_MS = 60_000;

/** A process of ours and what is known of it. */
class PythonProcess {
  /** Why it is gone; undefined while it runs. */
  ended;
  /** When it first answered that it is healthy. */
  readyAt;
  /** Its end is our doing. */
  expected = false;

  /** @param {import("node:child_process").ChildProcess} child */
  constructor(child) {
    this.child = child;
    this.gone = new Promise((resolve) => {
      const end = (how) => {
        this.ended ??= how;
        resolve();
      };
      child.once("exit", (code, signal) => end(signal ?? `exit status ${code}`));
      // No such program, or not to be run: there will be no exit.
      child.once("error", (error) => end(error.message));
    });
  }
}

export class AnalysisServer {
  #config;
  #allowedPaths;
  #log;
  /** @type {PythonProcess | undefined} */
  #python;
  #turn = Promise.resolve();
  /** Ends the starts that were asked for before a stop. */
  #giveUp = new AbortController();
  #restartTimer;
  #crashes = 0;
  #restarts = 0;

  /**
   * @param {object} parts
   * @param {import("./config.js").Config["python"]} parts.config
   * @param {() => string[]} parts.allowedPaths asked at every start
   */
  constructor({ config, allowedPaths, log }) {
    this.#config = config;
    this.#allowedPaths = allowedPaths;
    this.#log = log;
  }

  /** At the start of this program: uses a server that runs already, or starts one. Failing is no end of the world. */
  async initialize() {
    this.#log.info("Initializing Python analysis server...");
    try {
      if (await this.isHealthy()) this.#log.info("Analysis server is running already");
      else if (this.#config.autoStart) await this.start();
      else this.#log.warn("Analysis server is not running, and PYTHON_SERVER_AUTO_START is false");
    } catch (error) {
      this.#log.warn(`Analysis server not available (${error.message}) - tracks wait in the queue`);
    }
  }

  /** Until it is healthy. Nothing happens if it is already. Throws an Error that says what is wrong. */
  start() {
    const { signal } = this.#giveUp;
    return this.#inTurn(() => this.#startUp(signal));
  }

  /** SIGTERM, SIGKILL if that does not help. A start under way is given up. */
  stop() {
    this.#cancelStarts();
    return this.#inTurn(() => this.#end());
  }

  restart() {
    this.#cancelStarts();
    const { signal } = this.#giveUp;
    return this.#inTurn(async () => {
      await this.#end();
      await this.#startUp(signal);
    });
  }

  /** After the library's folders changed: the server takes its allowed paths only at its start. */
  async allowedPathsChanged() {
    if (this.#python !== undefined) await this.restart();
    else this.#log.warn("The analysis server was not started from here; it keeps the paths it allows");
  }

  async isHealthy() {
    try {
      const response = await fetch(`${this.#config.url}/health`, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
      const body = await response.json();
      return response.ok && body.status === "ok";
    } catch {
      return false;
    }
  }

  /** However long it takes; throws the signal's reason. @param {AbortSignal} signal */
  async whenHealthy(signal) {
    while (!(await this.isHealthy())) await sleep(HEALTH_POLL_MS, undefined, { signal });
    signal.throwIfAborted();
  }

  async status() {
    const { url, port, autoStart } = this.#config;
    const isHealthy = await this.isHealthy();
    const python = this.#python;
    return {
      url,
      port: `${port}`,
      isHealthy,
      isProcessRunning: python !== undefined,
      isReady: isHealthy && (python === undefined || python.readyAt !== undefined),
      autoStart,
      pid: python?.child.pid ?? null,
      restarts: this.#restarts,
    };
  }

  /** One of start, stop and restart at a time. */
  #inTurn(work) {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  #cancelStarts() {
    clearTimeout(this.#restartTimer);
    this.#giveUp.abort(new Error("the server was stopped"));
    this.#giveUp = new AbortController();
  }

  async #startUp(signal) {
    if (await this.isHealthy()) return;
    signal.throwIfAborted();
    clearTimeout(this.#restartTimer);
    // One that runs and is not healthy would keep the port.
    await this.#end();
    const python = this.#spawn();
    try {
      await this.#healthy(python, signal);
    } catch (error) {
      this.#log.error(`✗ Analysis server failed to start: ${error.message}`);
      await this.#end();
      throw error;
    }
    python.readyAt = Date.now();
    this.#log.info("✓ Analysis server ready");
  }

  #spawn() {
    const { appDir, pythonPath, port, grpcPort } = this.#config;
    if (!existsSync(join(appDir, "src/app.py"))) {
      throw new Error(`there is no src/app.py in ${appDir}: check PYTHON_SERVER_APP_DIR`);
    }
    const paths = this.#allowedPaths();
    const args = ["-m", "uvicorn", "src.app:app", "--host", "127.0.0.1", "--port", `${port}`];
    this.#log.info(`Starting analysis server with allowed paths: ${JSON.stringify(paths)}`);
    this.#log.info(`Starting analysis server: ${pythonPath} ${args.join(" ")}`);
    const child = spawn(pythonPath, args, {
      cwd: appDir,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        MISMO_ALLOW_FILE_PATHS: "true",
        MISMO_ALLOWED_PATH_PREFIXES: JSON.stringify(paths),
        MISMO_GRPC_PORT: `${grpcPort}`,
      },
    });
    const started = new PythonProcess(child);
    this.#python = started;
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on("line", (line) => this.#passOn(line));
    }
    // If this program ends without having stopped it.
    const last = () => child.kill("SIGKILL");
    process.once("exit", last);
    void started.gone.then(() => {
      process.removeListener("exit", last);
      this.#ended(started);
    });
    return started;
  }

  #passOn(line) {
    this.#log[levelOf(line)](`[Analysis Server] ${line}`);
    // Only to tell: that it takes jobs is what /health says.
    if (line.includes("Application startup complete")) this.#log.info("Analysis server has loaded its application");
  }

  /** Polls until it is healthy. */
  async #healthy(python, signal) {
    const deadline = Date.now() + this.#config.startupTimeoutMs;
    while (!(await this.isHealthy())) {
      signal.throwIfAborted();
      if (python.ended !== undefined) throw new Error(`the process ended (${python.ended})`);
      if (Date.now() > deadline) throw new Error("Server did not become ready within timeout");
      await Promise.race([sleep(HEALTH_POLL_MS), python.gone]);
    }
    // Else it is somebody else's server that answers on this port.
    if (python.ended !== undefined) throw new Error(`the process ended (${python.ended})`);
  }

  async #end() {
    const python = this.#python;
    if (python === undefined) return;
    this.#log.info("Stopping analysis server...");
    python.expected = true;
    python.child.kill("SIGTERM");
    const force = setTimeout(() => python.child.kill("SIGKILL"), GRACE_MS);
    await python.gone;
    clearTimeout(force);
    this.#python = undefined;
    this.#log.info("Analysis server stopped");
  }

  #ended(python) {
    if (this.#python !== python || python.expected) return;
    this.#python = undefined;
    // What ends during its start is told by whoever starts it.
    if (python.readyAt === undefined) return;
    if (Date.now() - python.readyAt > STEADY_MS) this.#crashes = 0;
    this.#log.error(`Analysis server ended unexpectedly (${python.ended})`);
    this.#restartLater();
  }

  #restartLater() {
    if (this.#crashes >= MOST_RESTARTS) {
      this.#log.error("Analysis server keeps failing; start it with POST /api/analysis/start");
      this.#crashes = 0;
      return;
    }
    const delay = Math.min(this.#config.restartDelayMs * 2 ** this.#crashes, LONGEST_RESTART_DELAY_MS);
    this.#crashes += 1;
    this.#log.warn(`Analysis server is started again in ${delay} ms`);
    this.#restartTimer = setTimeout(() => {
      const { signal } = this.#giveUp;
      this.#restarts += 1;
      this.start().catch(() => {
        // A stop since then is to last.
        if (!signal.aborted) this.#restartLater();
      });
    }, delay);
  }
}

/** uvicorn's lines begin with the level, the server's own are JSON with one. */
function levelOf(line) {
  if (/^(ERROR|CRITICAL)|"level": ?"(error|critical)"/.test(line)) return "error";
  return /^WARNING|"level": ?"warning"/.test(line) ? "warn" : "info";
}
