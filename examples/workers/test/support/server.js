/** The real server in a process of its own, on free ports, with the model that comes with it. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const PROJECT = resolve(fileURLToPath(new URL("../../../..", import.meta.url)));
const PYTHON = resolve(process.env.MISMO_PYTHON || join(PROJECT, ".venv/bin/python"));
/** Much longer than needed, for machines that are busy with other things. */
const PATIENCE_MS = 120_000;
const POLL_MS = 50;

/** Why the tests that need the server are skipped; false where they are not. */
export const noPython = existsSync(PYTHON)
  ? false
  : `there is no ${PYTHON}: run \`make base\` in the project, or set MISMO_PYTHON to a Python that has it installed`;

/** Starts it, waits until it accepts jobs, and ends it after the test. @returns {Promise<string>} its HTTP address */
export async function startServer(test, environment) {
  const folder = mkdtempSync(join(tmpdir(), "mismo-workers-"));
  const log = join(folder, "log");
  const output = openSync(log, "w");
  const readyFile = join(folder, "ready.json");
  const inherited = Object.entries(process.env).filter(([name]) => !/^(MISMO|AZURE|BLOB|CALLBACK)_/.test(name));
  const words = ["server.py", "--grpc-port", "0", "--http-port", "0", "--ready-file", readyFile];
  const child = spawn(PYTHON, [...words, "--jobs-dir", join(folder, "jobs")], {
    cwd: PROJECT,
    env: {
      ...Object.fromEntries(inherited),
      DEMUCS_MODEL: "mismo_lite",
      DEMUCS_DEVICE: "cpu",
      MISMO_HUB: "false",
      MISMO_CPU_THREADS: "1",
      OMP_NUM_THREADS: "1",
      ...environment,
    },
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  const ended = once(child, "exit");
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  test.after(async () => {
    child.kill("SIGTERM");
    await ended;
    process.off("exit", kill);
    rmSync(folder, { recursive: true, force: true });
  });
  for (const deadline = Date.now() + PATIENCE_MS; !existsSync(readyFile); await sleep(POLL_MS)) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(readFileSync(log, "utf8"));
  }
  return `http://127.0.0.1:${JSON.parse(readFileSync(readyFile, "utf8")).http_port}`;
}
