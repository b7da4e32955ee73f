/** The example against the real server and Azurite: one process serves both workers, then two do. */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { containerOf, startAzurite } from "./support/azurite.js";
import { run } from "./support/program.js";
import { noPython, PROJECT, startServer } from "./support/server.js";

const CONTAINER = "audio-files";
const TRACK = join(PROJECT, "examples/demo_track.ogg");

async function storageFor(test) {
  const { storage, stop } = await startAzurite();
  test.after(stop);
  await containerOf(storage, CONTAINER).create();
  return { AZURE_STORAGE_CONNECTION_STRING: storage, BLOB_CONTAINER_NAME: CONTAINER };
}

for (const [name, processes] of [
  ["one process", 1],
  ["two processes", 2],
]) {
  test(`a track goes the whole way with ${name} for both workers`, { skip: noPython }, async (t) => {
    const environment = await storageFor(t);
    const settings = { ...environment, MOCK_GENERATION: "true", USE_GPU: "false" };
    const servers = await Promise.all(Array.from({ length: processes }, () => startServer(t, settings)));
    const out = mkdtempSync(join(tmpdir(), "mismo-workers-"));
    t.after(() => rmSync(out, { recursive: true }));

    const workers = { ANALYSIS_URL: servers[0], GENERATION_URL: servers.at(-1) };
    const { code, stdout, stderr } = await run(["main.js", "--out", out, TRACK], { ...environment, ...workers });
    assert.equal(code, 0, `${stdout}${stderr}`);

    assert.match(stdout, / BPM, (no key|[A-G][#b]? (major|minor)); \d+ beats, /);
    for (const stem of ["vocals", "drums", "bass", "other"]) assert.ok(existsSync(join(out, "stems", `${stem}.wav`)));
    for (const stem of ["guitar", "bass", "drums"]) assert.ok(existsSync(join(out, "generated", `${stem}.wav`)));
    for (const namespace of ["tempo", "key_mode", "beat", "segment_open", "chord"]) {
      assert.match(stdout, new RegExp(`annotation\\.jams: .*${namespace} \\d+`));
    }
  });
}
