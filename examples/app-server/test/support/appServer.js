/** The app server as a process of its own, which starts the Python server as its documents say. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { EngineStub } from "../../src/engineStub.js";

const PACKAGE = resolve(fileURLToPath(new URL("../..", import.meta.url)));
const PYTHON = resolve(process.env.MISMO_PYTHON || join(PACKAGE, "../../.venv/bin/python"));
/** Of a wait; much longer than needed, for machines that are busy with other things. */
const PATIENCE_MS = 120_000;
const POLL_MS = 20;

/** Why the tests that need the Python server are skipped; false where they are not. */
export const noPython = existsSync(PYTHON)
  ? false
  : `there is no ${PYTHON}: run \`make base\` in the project, or set MISMO_PYTHON to a Python that has it installed`;

/** What a test leaves behind when it is given up. */
const running = new Set();
const folders = new Set();
process.on("exit", () => {
  // It ends its own child.
  for (const child of running) child.kill("SIGTERM");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder that goes with the test run. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "mismo-app-server-"));
  folders.add(folder);
  return folder;
}

export class AppServerProcess {
  lines = [];
  #child;
  #environment;
  #changed = () => {};

  /**
   * Starts it and waits until its Python server is healthy; stops both after the test.
   *
   * @param {import("node:test").TestContext} test
   * @param {AppServerProcess} [options.owner] uses the Python server of that one, and leaves it alone
   */
  static async start(test, { mode, music, owner, ...environment }) {
    const server = new AppServerProcess();
    const [httpPort, grpcPort] = owner ? owner.ports : await freePorts(2);
    server.ports = [httpPort, grpcPort];
    server.pythonUrl = `http://127.0.0.1:${httpPort}`;
    const inherited = Object.entries(process.env).filter(([name]) => !/^(MISMO|PYTHON_SERVER|ANALYSIS)_/.test(name));
    server.#environment = {
      ...Object.fromEntries(inherited),
      PORT: "0",
      ANALYSIS_MODE: mode,
      LIBRARY_DIRS: JSON.stringify([music]),
      PYTHON_SERVER_PYTHON_PATH: PYTHON,
      PYTHON_SERVER_URL: server.pythonUrl,
      PYTHON_SERVER_PORT: `${httpPort}`,
      PYTHON_SERVER_GRPC_PORT: `${grpcPort}`,
      PYTHON_SERVER_STARTUP_TIMEOUT_MS: `${PATIENCE_MS}`,
      PYTHON_SERVER_RESTART_DELAY_MS: "100",
      PYTHON_SERVER_AUTO_START: `${owner === undefined}`,
      DATA_DIR: join(temporaryFolder(), "data"),
      ANALYSIS_POLL_INTERVAL_MS: "100",
      // A store of its own: no result of another mode is taken over.
      JOBS_DIR: join(temporaryFolder(), "jobs"),
      DEMUCS_MODEL: "mismo_lite",
      DEMUCS_DEVICE: "cpu",
      MISMO_HUB: "false",
      MISMO_PRECISION: "fp32",
      MISMO_CPU_THREADS: "1",
      MISMO_DISK_RESERVE_BYTES: "0",
      OMP_NUM_THREADS: "1",
      ...environment,
    };
    test.after(() => server.stop());
    await server.#spawn();
    await server.logged(owner ? /Analysis server is running already/ : /✓ Analysis server ready/);
    return server;
  }

  async #spawn() {
    const child = spawn(process.execPath, ["src/server.js"], {
      cwd: PACKAGE,
      env: this.#environment,
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    running.add(child);
    child.once("exit", () => {
      running.delete(child);
      this.#changed();
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.lines.push(line);
      this.#changed();
    });
    const [, url] = await this.logged(/App server listens on (\S+)/);
    this.url = url;
  }

  /** The first log line that fits, from line `from` on. */
  async logged(pattern, from = 0) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = this.lines.slice(from).map((line) => pattern.exec(line)).find(Boolean);
      if (found) return found;
      if (!running.has(this.#child) || Date.now() > deadline) {
        throw new Error(`no line like ${pattern} in:\n${this.lines.join("\n")}`);
      }
      await Promise.race([new Promise((resolve) => (this.#changed = resolve)), sleep(1000)]);
    }
  }

  engine() {
    return EngineStub.connect(`${this.url.replace("http", "ws")}/engine`);
  }

  /** Status and JSON of an answer of its API. */
  async call(path, { method = "GET", body, headers } = {}) {
    const response = await fetch(`${this.url}/api${path}`, {
      method,
      headers: { ...(body && { "Content-Type": "application/json" }), ...headers },
      body: body && JSON.stringify(body),
    });
    return { status: response.status, body: await response.json() };
  }

  /** The id of a track of the library by its file's name. */
  async trackId(title) {
    const { tracks } = (await this.call("/tracks")).body;
    return tracks.find((track) => track.title === title).id;
  }

  /** Once the Python server is in the middle of the only job. */
  async inTheMiddle() {
    return until(async () => {
      const [job] = (await this.call("/analysis/queue")).body.jobs;
      if (!job?.trackHash) return false;
      const response = await fetch(`${this.pythonUrl}/jobs/${job.trackHash}`);
      const { status, progress } = await response.json();
      if (status === "completed") throw new Error("it was done before anybody looked");
      return status === "processing" && progress > 0.1;
    });
  }

  /** @param {NodeJS.Signals} signal */
  async stop(signal = "SIGTERM") {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }
}

/** Waits until a check comes true. */
export async function until(check) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error("it did not come true in time");
    await sleep(POLL_MS);
  }
}

async function freePorts(count) {
  const listeners = [];
  for (let i = 0; i < count; i++) {
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    listeners.push(listener);
  }
  const ports = listeners.map((listener) => listener.address().port);
  for (const listener of listeners) listener.close();
  return ports;
}
