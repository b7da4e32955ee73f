/** The example as a process of its own. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));

/**
 * Runs a program of src to its end.
 *
 * @param {string[]} words program and arguments
 * @param {Record<string, string>} environment besides that of the tests without the example's own variables
 * @param {(line: string, child: import("node:child_process").ChildProcess) => void} [onOutput]
 */
export async function run([program, ...words], environment, onOutput = () => {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(AZURE|BLOB|ANALYSIS|GENERATION|CALLBACK)_/.test(name));
  const child = spawn(process.execPath, [`${SOURCES}${program}`, ...words], {
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stop = () => child.kill("SIGKILL");
  process.once("exit", stop);
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => {
      output[name] += text;
      onOutput(text, child);
    });
  }
  const [code] = await once(child, "close");
  process.off("exit", stop);
  return { code, ...output };
}
