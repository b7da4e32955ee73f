/** A real server in its own process. It can be killed and restarted on the same port and jobs folder. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

// This file runs as clients/node/build/test/support/server.js.
const PACKAGE = resolve(fileURLToPath(new URL("../../..", import.meta.url)));
const ROOT = resolve(PACKAGE, "../..");
const PYTHON = process.env["MISMO_PYTHON"] ?? join(ROOT, ".venv/bin/python");
// A start takes about a second, and much longer on a busy machine.
const START_SECONDS = 240;
const POLL_MS = 20;

/** Servers and folders to remove when an aborted test run exits. */
const running = new Set<ChildProcess>();
const folders = new Set<string>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

/** Reason to skip the tests that need a server; false if they can run. */
export const noServer: string | false = existsSync(PYTHON)
  ? false
  : `there is no ${PYTHON}: run \`make base\`, or set MISMO_PYTHON to a Python that can run server.py`;

export class Server {
  /** Folder from which the server may read tracks. */
  readonly music: string;
  port = 0;
  readonly #folder: string;
  readonly #settings: Record<string, string>;
  #process: ChildProcess | undefined;

  /** `settings`: environment variables of the server. */
  constructor(settings: Record<string, string> = {}) {
    this.#folder = mkdtempSync(join(tmpdir(), "mismo-node-"));
    folders.add(this.#folder);
    this.#settings = settings;
    this.music = join(this.#folder, "music");
    mkdirSync(this.music);
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts the server, on its previous port if it had one, and waits until it accepts jobs. */
  async start(): Promise<void> {
    const ready = join(this.#folder, "ready.json");
    rmSync(ready, { force: true });
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MISMO_"));
    const log = openSync(join(this.#folder, "log"), "a");
    const child = spawn(
      PYTHON,
      [
        ...[join(ROOT, "server.py"), "--grpc-port", `${this.port}`, "--http-port", "0", "--device", "cpu"],
        ...["--model", "mismo_lite", "--precision", "fp32", "--jobs-dir", join(this.#folder, "jobs")],
        ...["--allow-path", this.music, "--ready-file", ready, "--log-level", "warning"],
      ],
      {
        cwd: this.#folder,
        stdio: ["ignore", log, log],
        env: {
          ...Object.fromEntries(inherited),
          MISMO_HUB: "false",
          MISMO_CPU_THREADS: "1",
          MISMO_DISK_RESERVE_BYTES: "0",
          OMP_NUM_THREADS: "1",
          ...this.#settings,
        },
      },
    );
    closeSync(log);
    this.#process = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    const deadline = Date.now() + START_SECONDS * 1000;
    while (!existsSync(ready)) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`no server: ${this.log()}`);
      await sleep(POLL_MS);
    }
    this.port = (JSON.parse(readFileSync(ready, "utf8")) as { grpc_port: number }).grpc_port;
  }

  /** Kills the server with SIGKILL. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** Kills the server and removes its files. */
  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Returns the log, for the message of a failed test. */
  log(): string {
    return readFileSync(join(this.#folder, "log"), "utf8");
  }
}
