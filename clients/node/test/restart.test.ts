/** A server that is killed in the middle of everything and comes back. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";

import {
  connect,
  type JobEvent,
  type JobsEvent,
  JobState,
  MismoError,
  type MismoClient,
} from "mismo-client";

import { Proxy } from "./support/proxy.js";
import { noServer, Server } from "./support/server.js";
import { Memory, StemAssembler, stemBytes } from "./support/sinks.js";
import { RATE, track, wav } from "./support/track.js";

describe("restarts", { skip: noServer }, () => {
  let server: Server;
  let client: MismoClient;

  before(async () => {
    server = new Server();
    await server.start();
    // The server may take long to start; the tests' own limit is enough of one.
    const patience = { attempts: 1000, longest: 1 };
    client = connect(server.address, { callRetry: patience, streamRetry: patience });
  });

  after(async () => {
    client?.close();
    await server.close();
  });

  test("a damaged upload is noticed and sent again from what was committed", async (context) => {
    const reasons: string[] = [];
    const { proxy, distant } = await Proxy.before(server.port, context, { onRetry: (error) => reasons.push(error.reason) });
    const content = randomBytes(3 << 20);
    proxy.damageNext("client");
    const uploaded = await distant.upload(content, { filename: "noise.bin" });
    assert.equal(proxy.damaged, 1);
    assert.deepEqual(reasons, ["UPLOAD_CHECKSUM_MISMATCH"]);
    assert.equal(uploaded.sha256, createHash("sha256").update(content).digest("hex"));
    // What the server has is not sent again.
    const progress: number[] = [];
    const again = await distant.upload(content, { onProgress: (done) => progress.push(done) });
    assert.equal(again.sha256, uploaded.sha256);
    assert.deepEqual(progress, [content.length]);
  });

  test("a connection cut in the middle costs nothing but time", async (context) => {
    const { proxy, distant } = await Proxy.before(server.port, context);
    const { job } = await client.submit(track(server.music, "short.wav", 5));
    await client.wait(job.jobId);
    const assembled = new StemAssembler();
    let chunks = 0;
    for await (const chunk of distant.streamStems(job.jobId, { chunkBytes: 32_768 })) {
      assembled.add(chunk);
      if (++chunks === 20) proxy.cut();
    }
    assert.equal(proxy.connections, 2);
    const bass = await stemBytes(client, job.jobId, "bass");
    assert.ok(assembled.bytes("bass").equals(bass));
    const memory = new Memory(1);
    setTimeout(() => proxy.cut(), 5);
    await distant.readStem(job.jobId, "bass", memory, { chunkBytes: 32_768 });
    assert.ok(memory.bytes.equals(bass));
  });

  test("a stream and bytes can be uploaded and separated", async () => {
    const content = wav(2);
    const pieces = [content.subarray(0, 1000), content.subarray(1000)];
    const uploaded = await client.upload(Readable.from(pieces), { filename: "a.wav" });
    assert.equal(uploaded.totalBytes, content.length);
    const { job } = await client.submit(uploaded);
    assert.equal((await client.wait(job.jobId)).stemSet!.totalFrames, 2 * RATE);
    const controller = new AbortController();
    const reason = new Error("stop");
    const stopped = client.upload(randomBytes(4 << 20), {
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    });
    await assert.rejects(stopped, reason);
    await assert.rejects(client.upload(Buffer.alloc(0)), (error) => {
      return error instanceof MismoError && error.reason === "EMPTY_AUDIO";
    });
    await assert.rejects(client.upload("/no/such/file"), { code: "ENOENT" });
  });

  test("watches, streams, readings and uploads go on where they were", async () => {
    const { job } = await client.submit(track(server.music, "song.wav", 18));
    const epoch = (await client.serverInfo()).serverEpoch;
    const content = randomBytes(24 << 20);
    const path = join(server.music, "upload.bin");
    writeFileSync(path, content);

    // All of them are in their middle when the server dies.
    const begun = { stream: middle(), watch: middle(), all: middle(), read: middle(), upload: middle() };
    const assembled = new StemAssembler();
    const player = client.streamStems(job.jobId);
    const streaming = (async () => {
      for await (const chunk of player) {
        assembled.add(chunk);
        begun.stream.reach();
      }
    })();
    const events: JobEvent[] = [];
    const watching = (async () => {
      for await (const event of client.watch(job.jobId)) {
        events.push(event);
        if (event.type === "segmentReady") begun.watch.reach();
      }
    })();
    const changes: JobsEvent[] = [];
    const watchingAll = (async () => {
      for await (const event of client.watchJobs()) {
        changes.push(event);
        if (event.type === "progress") begun.all.reach();
        if (event.type === "job" && event.job.jobId === job.jobId && event.job.state === JobState.SUCCEEDED) return;
      }
    })();
    const read: Buffer[] = [];
    const reading = (async () => {
      for await (const chunk of client.stemChunks(job.jobId, "bass", { follow: true })) {
        read.push(chunk.data);
        begun.read.reach();
      }
    })();
    await Promise.all([begun.stream.reached, begun.watch.reached, begun.all.reached, begun.read.reached]);
    const committed: number[] = [];
    const uploading = client.upload(path, {
      onProgress: (done) => {
        committed.push(done);
        if (done > 0) begun.upload.reach();
      },
    });
    await begun.upload.reached;
    await server.kill();
    assert.ok(committed.at(-1)! < content.length, "the upload was through too early");
    assert.notEqual(events.at(-1)!.type, "terminal");
    const submitting = client.submit(join(server.music, "song.wav"), { jobId: "meanwhile", shifts: 1 });
    await server.start();
    const [uploaded] = await Promise.all([uploading, streaming, watching, watchingAll, reading]);

    assert.equal((await submitting).job.jobId, "meanwhile");
    await client.delete("meanwhile");

    assert.notEqual((await client.serverInfo()).serverEpoch, epoch);
    const last = events.at(-1)!;
    assert.ok(last.type === "terminal" && last.job.state === JobState.SUCCEEDED);
    assert.equal(events.filter((event) => event.type === "terminal").length, 1);
    assert.ok(events.some((event) => event.serverEpoch === epoch) && last.serverEpoch !== epoch);
    assert.equal(last.job.runId, job.runId);
    assert.ok(!changes.some(({ type }) => type === "cursorExpired"), "the cursor did not survive");
    assert.ok(changes.filter(({ type }) => type === "caughtUp").length >= 2);
    const { totalFrames, stemNames, sha256 } = last.job.stemSet!;
    assert.equal(totalFrames, 18 * RATE);
    for (const [index, name] of stemNames.entries()) {
      const whole = await stemBytes(client, job.jobId, name);
      assert.ok(assembled.bytes(name).equals(whole), name);
      assert.equal(createHash("sha256").update(whole).digest("hex"), sha256[index]);
    }
    assert.ok(Buffer.concat(read).equals(await stemBytes(client, job.jobId, "bass")));
    assert.equal(uploaded.sha256, createHash("sha256").update(content).digest("hex"));
    const state = await client.getUpload(uploaded.uploadId);
    assert.deepEqual([state.complete, state.committedBytes], [true, content.length]);
    // It went on from what was committed: nothing was begun again.
    const firstAfter = committed.findIndex((bytes, i) => i > 0 && bytes <= committed[i - 1]!);
    assert.ok(firstAfter < 0 || committed[firstAfter]! > 0);
  });
});

function middle(): { reached: Promise<void>; reach: () => void } {
  let reach = (): void => undefined;
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  return { reached, reach };
}
