/** The whole way, with real processes: engine stub – WebSocket – app server – Python server, and back. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";

import { WebSocket } from "ws";

import { AppServerProcess, noPython, temporaryFolder, until } from "./support/appServer.js";
import { FRAME_BYTES, HEADER_BYTES, writeTrack } from "./support/track.js";

const STEMS = ["bass", "drums", "other", "vocals"];

describe("an engine gets its stems", { skip: noPython }, () => {
  const music = join(temporaryFolder(), "music");
  mkdirSync(music);
  const frames = noPython ? 0 : writeTrack(join(music, "short.wav"), 8);
  if (!noPython) writeTrack(join(music, "long.wav"), 60);
  /** Of each file of the short track, and of the long one, the first time; then everybody's must be the same. */
  const digests = {};

  function checkStems(title, stems) {
    assert.deepEqual(Object.keys(stems).sort(), STEMS);
    const files = Object.fromEntries(Object.entries(stems).map(([stem, path]) => [stem, readFileSync(path)]));
    for (const file of Object.values(files)) {
      assert.equal(file.toString("latin1", 0, 4), "RIFF");
      if (title === "short") assert.equal(file.length, HEADER_BYTES + frames * FRAME_BYTES);
    }
    const found = Object.fromEntries(
      Object.entries(files).map(([stem, file]) => [stem, createHash("sha256").update(file).digest("hex")]),
    );
    assert.equal(new Set(Object.values(found)).size, 4, "four stems, not one four times");
    digests[title] ??= found;
    assert.deepEqual(found, digests[title]);
  }

  async function stemsFor(server, title) {
    const engine = await server.engine();
    try {
      const trackId = await server.trackId(title);
      const requestId = engine.ask(trackId);
      const info = await engine.next();
      assert.deepEqual(info, { success: true, requestId, trackId, filePath: join(music, `${title}.wav`), title });
      const ready = await engine.next();
      assert.equal(ready.type, "stemsReady", JSON.stringify(ready));
      assert.deepEqual([ready.success, ready.requestId, ready.trackId], [true, requestId, trackId]);
      return ready.stems;
    } finally {
      engine.close();
    }
  }

  for (const mode of ["path", "callback", "poll", "grpc"]) {
    test(`in mode ${mode}, the same bytes as in the others`, async (t) => {
      const server = await AppServerProcess.start(t, { mode, music, CALLBACK_SECRET: "drum and bass" });
      const { body: status } = await server.call("/analysis/status");
      assert.deepEqual([status.isHealthy, status.isProcessRunning, status.isReady], [true, true, true]);
      assert.ok(server.lines.some((line) => /-m uvicorn src\.app:app --host 127\.0\.0\.1 --port \d+$/.test(line)));
      assert.ok(server.lines.some((line) => /\[Analysis Server\] .*Application startup complete/.test(line)));

      const stems = await stemsFor(server, "short");
      checkStems("short", stems);

      if (mode === "path") assert.ok(stems.bass.endsWith("/stems/bass.wav"), "the server's own files");
      const { jobs } = (await server.call("/analysis/queue")).body;
      assert.deepEqual(jobs.map(({ status, attempts }) => [status, attempts]), [["completed", 1]]);

      const forged = { job_id: jobs[0].trackHash, stage: "stems", status: "failed" };
      const now = `${Math.floor(Date.now() / 1000)}`;
      for (const headers of [{}, { "X-Mismo-Timestamp": now, "X-Mismo-Signature": `sha256=${"0".repeat(64)}` }]) {
        const refused = await server.call("/analysis/callback", { method: "POST", body: forged, headers });
        assert.deepEqual([refused.status, refused.body.error.code], [401, "CALLBACK_REFUSED"]);
      }

      await server.stop();
      assert.equal(existsSync(stems.bass), mode === "path", "files that came over the network go");
    });
  }

  for (const mode of ["poll", "grpc"]) {
    test(`in mode ${mode} with the track sent, as between two machines`, async (t) => {
      const remote = { ANALYSIS_SERVER_REMOTE: "true", PYTHON_SERVER_AUTO_START: "true" };
      const server = await AppServerProcess.start(t, { mode, music, ...remote });
      checkStems("short", await stemsFor(server, "short"));
    });
  }

  for (const mode of ["callback", "grpc"]) {
    test(`in mode ${mode}, although the Python server is killed in the middle`, async (t) => {
      const server = await AppServerProcess.start(t, { mode, music });
      const { pid } = (await server.call("/analysis/status")).body;
      const stems = stemsFor(server, "long");
      // It is awaited below; till then a failure is not unhandled.
      stems.catch(() => {});
      await server.inTheMiddle();
      process.kill(pid, "SIGKILL");
      checkStems("long", await stems);
      const { body: status } = await server.call("/analysis/status");
      assert.equal(status.restarts, 1);
      assert.notEqual(status.pid, pid);
      assert.ok(status.isReady);
    });
  }

  test("in mode grpc what became of its jobs outlives the app server, and the Python server", async (t) => {
    const owner = await AppServerProcess.start(t, { mode: "path", music });
    const app = { mode: "grpc", music, owner, DATA_DIR: join(temporaryFolder(), "data") };
    const states = async (server) => {
      const { jobs } = (await server.call("/analysis/server-jobs")).body;
      return Object.fromEntries(jobs.map(({ trackId, state }) => [trackId, state]));
    };
    const analyze = async (server, title) => {
      const trackId = await server.trackId(title);
      assert.equal((await server.call(`/tracks/${trackId}/analyze`, { method: "POST" })).status, 202);
      return trackId;
    };

    const first = await AppServerProcess.start(t, app);
    const short = await analyze(first, "short");
    await until(async () => (await states(first))[short] === "SUCCEEDED");
    const long = await analyze(first, "long");
    await until(async () => (await states(first))[long] === "RUNNING");
    const { jobs } = (await first.call("/analysis/queue")).body;
    const { trackHash } = jobs.find(({ trackId }) => trackId === long);
    await first.stop("SIGKILL");
    // The job ends while there is no app server.
    await until(async () => {
      const response = await fetch(`${owner.pythonUrl}/jobs/${trackHash}`);
      return (await response.json()).status === "completed";
    });

    const second = await AppServerProcess.start(t, app);
    const [, changed] = await second.logged(/updates of jobs have caught up: (\d+) changed/);
    assert.equal(changed, "1", "only what it had not seen came");
    assert.deepEqual(await states(second), { [short]: "SUCCEEDED", [long]: "SUCCEEDED" });

    // The Python server is killed; its owner starts it again, and the stream goes on from its cursor.
    const lines = second.lines.length;
    process.kill((await owner.call("/analysis/status")).body.pid, "SIGKILL");
    const [, again] = await second.logged(/updates of jobs have caught up: (\d+) changed/, lines);
    assert.equal(again, "0");
    assert.equal((await second.call(`/analysis/server-jobs`)).body.jobs.length, 2);
  });

  test("by asking, where the callback cannot come", async (t) => {
    const server = await AppServerProcess.start(t, {
      mode: "callback",
      music,
      // Nobody listens on the discard port.
      PUBLIC_URL: "http://127.0.0.1:9",
      CALLBACK_RETRIES: "0",
      ANALYSIS_CALLBACK_PATIENCE_MS: "100",
    });
    checkStems("short", await stemsFor(server, "short"));
  });

  test("once the server is started again; with the library's new folder allowed", async (t) => {
    const server = await AppServerProcess.start(t, { mode: "path", music });
    assert.equal((await server.call("/analysis/stop", { method: "POST" })).status, 200);
    assert.equal((await server.call("/analysis/health")).status, 503);
    assert.equal((await server.call("/analysis/status")).body.pid, null);

    // Asked for while there is no server: it waits in the queue.
    const stems = stemsFor(server, "short");
    stems.catch(() => {});
    const started = await server.call("/analysis/start", { method: "POST" });
    assert.equal(started.body.message, "Analysis server started successfully");
    checkStems("short", await stems);

    const more = join(temporaryFolder(), "more");
    mkdirSync(more);
    writeTrack(join(more, "new.wav"), 1);
    const added = await server.call("/library/directories", { method: "POST", body: { path: more } });
    assert.deepEqual([added.status, added.body.directories], [201, [music, more]]);
    const { body: status } = await server.call("/analysis/status");
    assert.notEqual(status.pid, started.body.status.pid);

    const { status: accepted, body: job } = await server.call(`/tracks/${await server.trackId("new")}/analyze`, {
      method: "POST",
      body: { priority: "low" },
    });
    assert.equal(accepted, 202);
    let view;
    await until(async () => {
      view = (await server.call(`/analysis/jobs/${job.id}`)).body;
      return view.status === "completed" || view.status === "failed";
    });
    assert.deepEqual([view.status, view.priority, view.error], ["completed", "low", null]);
  });

  test("or hears why not", async (t) => {
    const server = await AppServerProcess.start(t, { mode: "path", music: brokenMusic() });
    const engine = await server.engine();
    t.after(() => engine.close());
    const requestId = engine.ask(await server.trackId("noise"));
    assert.ok((await engine.next()).success);
    const failed = await engine.next();
    assert.deepEqual([failed.success, failed.type, failed.requestId], [false, "stemsFailed", requestId]);
    assert.equal(failed.error.code, "UNSUPPORTED_AUDIO");
    engine.ask("no such track");
    assert.equal((await engine.next()).success, false);
    engine.send({ command: "selfDestruct" });
    assert.equal((await engine.next()).success, false);

    const page = new WebSocket(`${server.url.replace("http", "ws")}/engine`, { origin: "https://elsewhere.example" });
    const [error] = await once(page, "error");
    assert.match(error.message, /401/, "a web page is no engine");
  });
});

/** A library with one file that only claims to be music. */
function brokenMusic() {
  const folder = join(temporaryFolder(), "broken");
  mkdirSync(folder);
  writeFileSync(join(folder, "noise.mp3"), "this is no music".repeat(1000));
  return folder;
}
