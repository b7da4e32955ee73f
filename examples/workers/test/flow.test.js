/** What a process of its own would take minutes for: a callback that does not come after its job has ended. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Flow } from "../src/flow.js";
import { readOptions } from "../src/options.js";
import { containerOf, startAzurite } from "./support/azurite.js";
import { FakeWorker, wav } from "./support/fakeWorker.js";

test("once the job has ended, its callback is not waited for until --timeout", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "mismo-workers-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const track = join(folder, "song.mp3");
  writeFileSync(track, wav(2));
  const { storage, stop } = await startAzurite();
  t.after(stop);
  const container = containerOf(storage, "audio-files");
  await container.create();
  const worker = await FakeWorker.start(t, container, { silent: true });
  const environment = { AZURE_STORAGE_CONNECTION_STRING: storage };
  const words = ["--analysis-url", worker.url, "--generation-url", worker.url, track];
  const flow = new Flow(readOptions(words, environment), {
    signal: new AbortController().signal,
    print: () => {},
    patienceMs: 0,
  });
  await assert.rejects(flow.run(), {
    name: "Failure",
    message: /the job \S+ is completed, but its callback did not come; does the worker reach http:\/\/127\.0\.0\.1:\d+\//,
  });
});
