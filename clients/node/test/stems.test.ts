/** Stems on their way to a player, a file or nowhere. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Writable } from "node:stream";
import { after, before, describe, test } from "node:test";

import {
  connect,
  crc32c,
  Encoding,
  frameBytes,
  JobState,
  MismoError,
  type MismoClient,
  type NotReady,
  NotReadyReason,
  RunReplacedError,
  SeekRefusedError,
} from "mismo-client";

import { Proxy } from "./support/proxy.js";
import { noServer, Server } from "./support/server.js";
import { Memory, StemAssembler, stemBytes } from "./support/sinks.js";
import { RATE, track } from "./support/track.js";

const SECONDS = 12;
const FRAME_BYTES = 4;
const CREDIT = 256 * 1024;

test("the checksum is CRC-32C", () => {
  // The check value of the CRC catalogues, and two vectors of RFC 3720.
  assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
  assert.equal(crc32c(Buffer.alloc(0)), 0);
});

describe("stems", { skip: noServer }, () => {
  let server: Server;
  let client: MismoClient;
  let song: string;
  /** A finished job, and its stems as `readStem` gave them. */
  let done: string;
  const stems = new Map<string, Buffer>();

  before(async () => {
    server = new Server();
    await server.start();
    client = connect(server.address);
    song = track(server.music, "song.wav", SECONDS);
  });

  after(async () => {
    client?.close();
    await server.close();
  });

  test("they stream from the middle while the job runs, and are those of the finished job", async () => {
    const startFrame = 7 * RATE;
    const { job } = await client.submit(song, { playhead: 7 });
    done = job.jobId;
    const player = client.streamStems(done, { startFrame, follow: true });
    const format = await player.format();
    assert.deepEqual([format.sampleRate, format.channels, format.totalFrames], [RATE, 2, SECONDS * RATE]);
    assert.equal(frameBytes(format), FRAME_BYTES);
    const assembled = new StemAssembler();
    const first = await player.next();
    assert.ok(!first.done);
    assert.equal(first.value.startFrame, startFrame);
    assembled.add(first.value);
    assert.equal((await client.getJob(done)).state, JobState.RUNNING);
    for await (const chunk of player) assembled.add(chunk);
    assert.deepEqual(assembled.stems.sort(), [...format.stemNames].sort());

    await client.wait(done);
    for (const name of format.stemNames) {
      const whole = await stemBytes(client, done, name);
      stems.set(name, whole);
      assert.equal(whole.length, SECONDS * RATE * FRAME_BYTES);
      assert.ok(assembled.bytes(name).equals(whole.subarray(startFrame * FRAME_BYTES)), name);
    }
    // After the end a seek begins again, and the checksums are those of the whole files.
    player.seek(format.totalFrames - 10);
    const again = new StemAssembler();
    for await (const chunk of player) again.add(chunk);
    for (const [name, whole] of stems) {
      assert.ok(again.bytes(name).equals(whole.subarray(-10 * FRAME_BYTES)), name);
      assert.equal(player.stemSha256[name], createHash("sha256").update(whole).digest("hex"));
    }
    player.close();
  });

  test("a seek drops what is on its way: nothing older is ever handed out", async () => {
    const player = client.streamStems(done, { creditBytes: CREDIT });
    for (let i = 0; i < 3; i++) assert.ok(!(await player.next()).done);
    const target = 10 * RATE;
    player.seek(2 * RATE);
    player.seek(target);
    const assembled = new StemAssembler();
    for await (const chunk of player) {
      assert.equal(chunk.generation, 2);
      assembled.add(chunk);
    }
    for (const [name, whole] of stems) {
      assert.ok(assembled.bytes(name).equals(whole.subarray(target * FRAME_BYTES)), name);
    }
    assert.ok(player.staleBytes > 0 && player.staleBytes <= 2 * CREDIT, `${player.staleBytes}`);
    player.close();
  });

  test("a seek past the end is refused, and the stream goes on without a gap", async () => {
    const player = client.streamStems(done, { startFrame: 9 * RATE, creditBytes: CREDIT });
    const assembled = new StemAssembler();
    assembled.add((await player.next()).value!);
    const refused = assert.rejects(player.seek(SECONDS * RATE), SeekRefusedError);
    for await (const chunk of player) {
      assert.equal(chunk.generation, 0);
      assembled.add(chunk);
    }
    await refused;
    for (const [name, whole] of stems) {
      assert.ok(assembled.bytes(name).equals(whole.subarray(9 * RATE * FRAME_BYTES)), name);
    }
    player.close();
  });

  test("credit by frames bounds how far a stream is ahead, in FLAC too", async () => {
    const creditFrames = 16_384;
    const player = client.streamStems(done, { encoding: Encoding.FLAC, creditFrames });
    const { stemNames, maxChunkFrames, bitsPerSample } = await player.format();
    assert.equal(bitsPerSample, 16);
    const reached = new Map(stemNames.map((name) => [name, 0]));
    for await (const { stemName, startFrame, frameCount } of player) {
      assert.ok(frameCount <= maxChunkFrames);
      reached.set(stemName, startFrame + frameCount);
      assert.ok(startFrame + frameCount <= Math.min(...reached.values()) + creditFrames);
    }
    assert.deepEqual(new Set(reached.values()), new Set([SECONDS * RATE]));
  });

  test("another run of the job is never taken for this one", async (context) => {
    // Small, so that the stem has not all come before the connection is cut.
    const { proxy, distant } = await Proxy.before(server.port, context, { flowControlWindow: 65_536 });
    const jobId = "same-length";
    await client.submit(song, { jobId });
    await client.wait(jobId);
    const player = distant.streamStems(jobId, { creditBytes: CREDIT });
    const reading = distant.stemChunks(jobId, "bass", { chunkBytes: 16_384 });
    for (let i = 0; i < 4; i++) assert.ok(!(await player.next()).done && !(await reading.next()).done);
    proxy.cut();
    const { job } = await client.submit(track(server.music, "other.wav", SECONDS, 1.5), { jobId });
    await client.wait(jobId, { expectedRunId: job.runId });
    await assert.rejects(async () => {
      for await (const chunk of player) assert.ok(chunk.data);
    }, RunReplacedError);
    await assert.rejects(async () => {
      for await (const chunk of reading) assert.ok(chunk.data);
    }, RunReplacedError);
    await client.delete(jobId);
  });

  test("waveforms come whole, each pixel once", async () => {
    const pixels = new Map<string, number>();
    for await (const { stemName, startPixel, peaks, waveform } of client.readWaveform(done)) {
      assert.equal(startPixel, pixels.get(stemName) ?? 0);
      assert.equal(waveform.framesPerPixel, 256);
      pixels.set(stemName, startPixel + peaks.length / 2);
    }
    assert.deepEqual([...pixels.keys()].sort(), [...stems.keys()].sort());
    assert.deepEqual(new Set(pixels.values()), new Set([Math.ceil((SECONDS * RATE) / 256)]));
  });

  test("a seek reaches a reader that waits for what is not separated yet", async () => {
    const { job } = await client.submit(track(server.music, "long.wav", 40), { shifts: 3 });
    let told = (_: NotReady): void => undefined;
    const waits = new Promise<NotReady>((resolve) => (told = resolve));
    const player = client.streamStems(job.jobId, {
      startTime: 30,
      // Once there are other frames: a seek to these is answered at once.
      onNotReady: (notReady) => notReady.range && told(notReady),
    });
    const reading = player.next();
    const { range, reason } = await waits;
    assert.equal(range!.startFrame, 30 * RATE);
    assert.notEqual(reason, NotReadyReason.UNSPECIFIED);
    const seeking = player.seek(0);
    const chunk = (await reading).value!;
    assert.deepEqual([chunk.generation, chunk.startFrame], [1, 0]);
    assert.deepEqual(await seeking, { generation: 1, startFrame: 0 });
    // Closing does the same for good.
    player.seek(35 * RATE);
    const waiting = player.next();
    player.close();
    assert.deepEqual(await waiting, { done: true, value: undefined });
    await client.delete(job.jobId);
  });

  test("a consumer that pauses is sent no more than its credit", async (context) => {
    const { proxy, distant } = await Proxy.before(server.port, context);
    const player = distant.streamStems(done, { creditBytes: CREDIT, chunkBytes: 16 * 1024 });
    assert.ok(!(await player.next()).done);
    // All of the credit comes, less than a chunk may be left of it.
    while (proxy.bytesFromServer < CREDIT - 16 * 1024) await once(proxy, "from server");
    // A server without bounds would answer other calls only after the whole job, 20 times as much.
    for (let i = 0; i < 20; i++) await distant.serverInfo();
    assert.ok(proxy.bytesFromServer < CREDIT * 1.2, `${proxy.bytesFromServer}`);
    let bytes = 0;
    for await (const chunk of player) bytes += chunk.data.length;
    assert.ok(bytes > 4 * CREDIT);
  });

  test("damaged chunks are noticed and fetched again", async (context) => {
    const errors: string[] = [];
    const { proxy, distant } = await Proxy.before(server.port, context, { onRetry: (error) => errors.push(error.name) });
    const assembled = new StemAssembler();
    proxy.damageNext("server");
    for await (const chunk of distant.streamStems(done)) {
      if (assembled.stems.length === 4 && proxy.damaged === 1) proxy.damageNext("server");
      assembled.add(chunk);
    }
    assert.equal(proxy.damaged, 2);
    for (const [name, whole] of stems) assert.ok(assembled.bytes(name).equals(whole), name);

    proxy.damageNext("server");
    assert.ok((await stemBytes(distant, done, "vocals")).equals(stems.get("vocals")!));
    proxy.damageNext("server");
    const zip = new Memory();
    await distant.getArtifact(done, "stems.zip", zip);
    assert.equal(proxy.damaged, 4);
    assert.deepEqual(errors, Array(4).fill("StreamCorruptError"));
    const whole = new Memory();
    const { bytes, artifact } = await client.getArtifact(done, "stems.zip", whole);
    assert.ok(zip.bytes.equals(whole.bytes));
    assert.deepEqual([bytes, artifact.contentType], [whole.bytes.length, "application/zip"]);
  });

  test("leaving the loop early cancels the call", async (context) => {
    const { proxy, distant } = await Proxy.before(server.port, context);
    const left = once(proxy, "reset by client");
    for await (const chunk of distant.streamStems(done, { creditBytes: CREDIT })) {
      assert.ok(chunk.frameCount > 0);
      break;
    }
    await left;
    const leftAgain = once(proxy, "reset by client");
    const reading = distant.stemChunks(done, "drums");
    assert.ok(!(await reading.next()).done);
    await reading.return();
    assert.ok((await reading.next()).done);
    await leftAgain;
    const { job } = await client.submit(song, { shifts: 5 });
    const leftWatch = once(proxy, "reset by client");
    const watching = distant.watch(job.jobId, { minProgressInterval: 60 });
    assert.equal((await watching.next()).value!.type, "snapshot");
    const waiting = watching.next().then(async function more(result): Promise<boolean | undefined> {
      return result.done || (await watching.next().then(more));
    });
    await watching.return();
    assert.ok(await waiting);
    await leftWatch;
    await client.delete(job.jobId);
  });

  test("a stem goes into a slow file no faster than it takes it", async () => {
    const slow = new Memory(1, 64 * 1024);
    const read = await client.readStem(done, "bass", slow, { startFrame: 100, frameLimit: 200_000, chunkBytes: 65_536 });
    assert.deepEqual([read.startFrame, read.frameCount, read.bytes], [100, 200_000, 200_000 * FRAME_BYTES]);
    assert.ok(slow.bytes.equals(stems.get("bass")!.subarray(100 * FRAME_BYTES, 200_100 * FRAME_BYTES)));
    assert.ok(slow.mostBuffered <= 3 * 65_536, `${slow.mostBuffered}`);
    assert.ok(slow.writableFinished);
    const shared = new Memory();
    await client.readStem(done, "bass", shared, { frameLimit: 10, end: false });
    assert.ok(!shared.writableEnded);
  });

  test("a file that fails ends the reading with its error", async () => {
    const full = new Writable({ write: (_piece, _encoding, finished) => finished(new Error("disk full")) });
    await assert.rejects(client.readStem(done, "bass", full), /disk full/);
    const { job } = await client.submit(song, { shifts: 6 });
    const gone = new Memory();
    const reading = client.readStem(job.jobId, "bass", gone, { startFrame: 11 * RATE, follow: true });
    setTimeout(() => gone.destroy(), 200);
    await assert.rejects(reading, { code: "ERR_STREAM_PREMATURE_CLOSE" });
    await client.delete(job.jobId);
  });

  test("what is not there yet is an error unless it is waited for", async () => {
    const { job } = await client.submit(song, { shifts: 7 });
    await client.streamStems(job.jobId).format();
    const memory = new Memory();
    await assert.rejects(client.readStem(job.jobId, "bass", memory, { startFrame: 11 * RATE }), (error) => {
      return error instanceof MismoError && error.reason === "JOB_NOT_READY";
    });
    const cancelled = assert.rejects(client.readStem(job.jobId, "bass", new Memory(), { follow: true }), MismoError);
    await client.cancel(job.jobId);
    await cancelled;
    await client.delete(job.jobId);
  });

  test("a FLAC stream begins with its header", async () => {
    const memory = new Memory();
    await client.readStem(done, "drums", memory, { encoding: Encoding.FLAC });
    assert.equal(memory.bytes.subarray(0, 4).toString("latin1"), "fLaC");
    assert.ok(memory.bytes.length < stems.get("drums")!.length);
  });
});
