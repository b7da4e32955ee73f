/** Checks the types of the page's modules, with those of the sources of clients/web for the vendored library. */

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const tsc = join(root, "clients/web/node_modules/.bin/tsc");
// A copy: tsc reads the bundle itself, which has no types, if it lies where the modules import it from.
const copy = mkdtempSync(join(tmpdir(), "mismo-page-"));
try {
  cpSync(join(root, "mismo_grpc/gateway/static/js"), join(copy, "js"), { recursive: true });
  mkdirSync(join(copy, "vendor"));
  writeFileSync(join(copy, "vendor/mismo-client.d.ts"), `export * from ${JSON.stringify(join(root, "clients/web/src/index.js"))};\n`);
  const config = { extends: join(root, "tests/page/tsconfig.base.json"), files: ["js/main.js"] };
  writeFileSync(join(copy, "tsconfig.json"), JSON.stringify(config));
  const { status, stdout, error } = spawnSync(tsc, ["-p", copy, "--pretty", "false"], { cwd: copy, encoding: "utf8" });
  if (error) throw error;
  process.stdout.write(stdout.replace(/^js\//gm, "mismo_grpc/gateway/static/js/"));
  process.exitCode = status ?? 1;
} finally {
  rmSync(copy, { recursive: true });
}
