/**
 * Writes src/generated from ../../protos, or with --check fails where it would change.
 *
 * protoc comes from the Python package grpcio-tools, the same that makes the stubs in Python. MISMO_PYTHON
 * names the interpreter that has it.
 */

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const packageRoot = resolve(fileURLToPath(new URL("..", import.meta.url)));
const protos = resolve(packageRoot, "../../protos");
const target = join(packageRoot, "src/generated");
const python = process.env.MISMO_PYTHON ?? resolve(packageRoot, "../../.venv/bin/python");
const plugin = join(packageRoot, "node_modules/.bin/protoc-gen-es");

if (!existsSync(python) || !existsSync(plugin)) {
  console.error(`missing: ${existsSync(python) ? `${plugin} (npm ci)` : `${python} (set MISMO_PYTHON)`}`);
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), "mismo-generate-"));
try {
  // google/rpc is in the folder for clients that decode gRPC's error details; over WebSocket errors are JSON.
  const names = files(protos).filter((path) => path.startsWith("mismo") && path.endsWith(".proto"));
  execFileSync(
    python,
    [
      ...["-m", "grpc_tools.protoc", `-I${protos}`, `--plugin=protoc-gen-es=${plugin}`],
      ...[`--es_out=${folder}`, "--es_opt=target=ts,import_extension=js", ...names],
    ],
    { stdio: "inherit" },
  );
  if (process.argv.includes("--check")) {
    const wrong = differences(target, folder);
    if (wrong.length > 0) {
      console.error(`src/generated does not fit the protos; run \`npm run generate\` and commit:\n${wrong.join("\n")}`);
      process.exitCode = 1;
    }
  } else {
    rmSync(target, { recursive: true, force: true });
    cpSync(folder, target, { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** @param {string} root */
function files(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** @param {string} committed @param {string} fresh */
function differences(committed, fresh) {
  const ours = existsSync(committed) ? files(committed) : [];
  const theirs = files(fresh);
  const all = [...new Set([...ours, ...theirs])].sort();
  return all.filter((path) => {
    if (!ours.includes(path) || !theirs.includes(path)) return true;
    return !readFileSync(join(committed, path)).equals(readFileSync(join(fresh, path)));
  });
}
