/** The server for callbacks alone: what it accepts, what it refuses, and how. */

import assert from "node:assert/strict";
import { beforeEach, afterEach, test } from "node:test";

import { ANALYSIS_PATH, CallbackServer, GENERATION_PATH } from "../src/callbacks.js";

let server, url;
beforeEach(async () => {
  server = await CallbackServer.listen("127.0.0.1", 0);
  url = `http://127.0.0.1:${server.port}`;
});
afterEach(() => server.close());

async function post(path, body) {
  const response = await fetch(`${url}${path}`, { method: "POST", body });
  return [response.status, (await response.json()).message];
}

test("each request gets its own callback, by its id and path", async () => {
  const analysis = server.expect(ANALYSIS_PATH, "a");
  const generation = server.expect(GENERATION_PATH, "a");
  const second = { generation_request_id: "a", status: "completed" };
  const first = { audio_file_id: "a", status: "failed" };
  assert.deepEqual(await post(GENERATION_PATH, JSON.stringify(second)), [200, "accepted"]);
  assert.deepEqual(await post(ANALYSIS_PATH, JSON.stringify(first)), [200, "accepted"]);
  assert.deepEqual([await analysis, await generation], [first, second]);
});

test("what is no callback is refused with the reason", async () => {
  server.expect(ANALYSIS_PATH, "a");
  const unknown = JSON.stringify({ audio_file_id: "b", status: "completed" });
  assert.deepEqual(await post(ANALYSIS_PATH, unknown), [410, "nobody waits for audio_file_id b"]);
  assert.equal((await post("/elsewhere", unknown))[0], 404);
  assert.equal((await fetch(`${url}${ANALYSIS_PATH}`)).status, 405);
  assert.equal((await post(ANALYSIS_PATH, "{"))[0], 400);
  for (const body of [null, {}, { audio_file_id: "a" }, { audio_file_id: 1, status: "completed" }]) {
    const [status, message] = await post(ANALYSIS_PATH, JSON.stringify(body));
    assert.equal(status, 400);
    assert.match(message, /needs audio_file_id, and a status/);
  }
});

test("a body without end is refused before it fills the memory", async () => {
  const [status, message] = await post(ANALYSIS_PATH, Buffer.alloc(16 * 1024 * 1024 + 1, " "));
  assert.equal(status, 413);
  assert.match(message, /at most 16777216 bytes/);
});
