/** A real server in a process of its own, to be killed and started again on the same port and jobs folder. */

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
// Starting takes a moment, or much longer where the machine is busy with other things.
const START_SECONDS = 240;
const POLL_MS = 20;

/** A test run that is given up must not leave servers and their files behind. */
const running = new Set<ChildProcess>();
const folders = new Set<string>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

/** Why the tests that need a server are skipped; false where they are not. */
export const noServer: string | false = existsSync(PYTHON)
  ? false
  : `there is no ${PYTHON}: run \`make base\`, or set MISMO_PYTHON to a Python that can run server.py`;

export class Server {
  /** Sources may be read from here. */
  readonly music: string;
  port = 0;
  readonly #folder: string;
  readonly #settings: Record<string, string>;
  #process: ChildProcess | undefined;

  /** `settings` by their names in the environment. */
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

  /** Starts it, on the port it had before, and waits until it takes jobs. */
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

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** Ends it and removes all it wrote. */
  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** What it wrote, for a person who looks at a failed test. */
  log(): string {
    return readFileSync(join(this.#folder, "log"), "utf8");
  }
}
