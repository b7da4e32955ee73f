/** The whole example against Azurite and a worker that computes nothing: the good way, and each way to fail. */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { connectionString, containerOf, startAzurite } from "./support/azurite.js";
import { FakeWorker, STEMS, wav } from "./support/fakeWorker.js";
import { run } from "./support/program.js";

const CONTAINER = "audio-files";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

let folder, track, storage, stop, container;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "mismo-workers-"));
  track = join(folder, "Song.MP3");
  writeFileSync(track, wav(2));
  ({ storage, stop } = await startAzurite());
  container = containerOf(storage, CONTAINER);
});
after(() => {
  stop();
  rmSync(folder, { recursive: true, force: true });
});

test("the container is created once", async () => {
  const environment = { AZURE_STORAGE_CONNECTION_STRING: storage, BLOB_CONTAINER_NAME: CONTAINER };
  const first = await run(["createContainer.js"], environment);
  assert.deepEqual([first.code, first.stdout], [0, "container audio-files: created\n"]);
  const second = await run(["createContainer.js"], environment);
  assert.deepEqual([second.code, second.stdout], [0, "container audio-files: was there\n"]);
});

/** Runs the example against one worker for both verbs. */
async function runWith(worker, words = [], environment = {}) {
  return run(["main.js", ...words, track], {
    AZURE_STORAGE_CONNECTION_STRING: storage,
    ANALYSIS_URL: worker.url,
    GENERATION_URL: worker.url,
    ...environment,
  });
}

test("a track is uploaded, analysed, its results read, and stems generated and read", async (t) => {
  const worker = await FakeWorker.start(t, container);
  const out = join(folder, "out");
  const { code, stdout, stderr } = await runWith(worker, ["--out", out]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /done: everything was read/);
  assert.match(stdout, /120\.0 BPM, A minor; 2 beats, 1 sections, 1 chords/);

  const [analysis, generation] = worker.requests;
  const { audio_file_id: id } = analysis.body;
  assert.match(id, UUID);
  const base = analysis.body.callback_url.replace("/api/audio/analysis-callback", "");
  assert.match(base, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.deepEqual(analysis.body, {
    audio_file_id: id,
    blob_uri: `${container.url}/${id}.mp3`,
    callback_url: `${base}/api/audio/analysis-callback`,
  });
  const { generation_request_id: request } = generation.body;
  assert.match(request, UUID);
  assert.deepEqual(generation.body, {
    generation_request_id: request,
    audio_file_id: id,
    target_stems: ["guitar", "bass", "drums"],
    parameters: {
      target_bpm: 120.0,
      duration_seconds: 10.0,
      style: "rock",
      chord_progression: null,
      prompt: null,
      temperature: null,
      random_seed: null,
    },
    callback_url: `${base}/api/generation/callback`,
  });
  for (const { headers } of worker.requests) {
    assert.equal(headers["content-type"], "application/json; charset=utf-8");
    assert.equal(headers["transfer-encoding"], "chunked");
  }
  assert.deepEqual(worker.answers, [200, 200]);

  for (const name of STEMS) assert.deepEqual(readFileSync(join(out, "stems", `${name}.wav`)), wav(2));
  for (const name of ["guitar", "bass", "drums"]) {
    assert.deepEqual(readFileSync(join(out, "generated", `${name}.wav`)), wav(10));
  }
  assert.ok(JSON.parse(readFileSync(join(out, "analysis", "annotation.jams"))).annotations.length === 5);
});

test("the options of the generation reach the worker", async (t) => {
  const worker = await FakeWorker.start(t, container);
  const words = ["--stems", "piano,other", "--bpm", "90.5", "--duration", "4", "--style", "jazz"];
  const { code, stderr } = await runWith(worker, [...words, "--chords", "Am7, C/E", "--seed", "3"]);
  assert.equal(code, 0, stderr);
  const { target_stems: stems, parameters } = worker.requests[1].body;
  assert.deepEqual(stems, ["piano", "other"]);
  assert.deepEqual(parameters, {
    target_bpm: 90.5,
    duration_seconds: 4,
    style: "jazz",
    chord_progression: ["Am7", "C/E"],
    prompt: null,
    temperature: null,
    random_seed: 3,
  });
});

test("a callback that is faster than the response is not missed", async (t) => {
  const worker = await FakeWorker.start(t, container, { callbackBeforeAnswer: true });
  const { code, stderr } = await runWith(worker);
  assert.equal(code, 0, stderr);
});

test("a callback that comes twice counts once", async (t) => {
  const worker = await FakeWorker.start(t, container, { callbackTimes: 2 });
  const { code, stderr } = await runWith(worker);
  assert.equal(code, 0, stderr);
  // The last one may come when nobody listens any more.
  assert.deepEqual(worker.answers.slice(0, 3), [200, 200, 200]);
});

/** What makes the example fail, and what it says then. */
const FAULTS = {
  "a refused request": [
    { refuse: { code: "INVALID_FIELD", message: "blob_uri: this is no address" } },
    /POST \S+\/analyze answers 422, not 202: INVALID_FIELD: blob_uri: this is no address/,
  ],
  "a failed job": [
    { callback: (body) => ({ ...body, status: "failed", error: { code: "DECODE_FAILED", message: "no audio" } }) },
    /the job \S+ failed: DECODE_FAILED: no audio/,
  ],
  "a checksum that does not fit": [
    { callback: (body) => ({ ...body, stems: body.stems.map((stem) => ({ ...stem, sha256: "0".repeat(64) })) }) },
    /vocals\.wav is not what the callback says/,
  ],
  "an address outside of the expected place": [
    { callback: (body) => ({ ...body, jams_uri: "http://127.0.0.1/devstoreaccount1/others/secret" }) },
    /annotation\.jams of this container was expected/,
  ],
  "a name of a stem that leaves the folder": [
    { callback: (body) => ({ ...body, stems: [{ ...body.stems[0], stem_type: "../../x" }] }) },
    /"\.\.\/\.\.\/x" is no name of a stem/,
  ],
  "a missing analysis": [{ callback: (body) => ({ ...body, analysis: null }) }, /has no analysis/],
  "no stems": [{ callback: (body) => ({ ...body, stems: [] }) }, /names no stems/],
  "stems of different lengths": [{ lengths: { bass: 0.01 } }, /not aligned: bass has 16080 frames, vocals has 16000/],
  "stems of another length than the track": [
    { lengths: { vocals: 1, drums: 1, bass: 1, other: 1 } },
    /vocals lasts 3\.00 s, where 2\.00 s were expected/,
  ],
  "other generated stems than asked for": [
    { callback: (body) => (body.generation_request_id ? { ...body, stems: body.stems.slice(1) } : body) },
    /asked for the stems guitar, bass, drums, got bass, drums/,
  ],
};

for (const [name, [faults, message]] of Object.entries(FAULTS)) {
  test(`${name} ends the example with a message`, async (t) => {
    const worker = await FakeWorker.start(t, container, faults);
    const { code, stderr } = await runWith(worker);
    assert.equal(code, 1, stderr);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n {4}at /);
  });
}

test("a result that is not in the container is named", async (t) => {
  const gone = (body) => {
    const [stem] = body.stems;
    return { ...body, stems: [{ ...stem, stem_type: "gone", blob_uri: stem.blob_uri.replace("vocals", "gone") }] };
  };
  const worker = await FakeWorker.start(t, container, { callback: gone });
  const { code, stderr } = await runWith(worker);
  assert.equal(code, 1);
  assert.match(stderr, /cannot read \S+\/stems\/gone\.wav \(container audio-files\): BlobNotFound/);
});

test("a callback that does not come ends the example after --timeout, with what the worker says of the job", async (t) => {
  const worker = await FakeWorker.start(t, container, { silent: true });
  const { code, stderr } = await runWith(worker, ["--timeout", "3"]);
  assert.equal(code, 1);
  assert.match(stderr, /no callback for job \S+ within 3 s \(it is completed\)/);
});

test("a worker that does not become healthy is named", async (t) => {
  const worker = await FakeWorker.start(t, container, { unhealthy: true });
  const { code, stderr } = await runWith(worker, ["--timeout", "0.1"]);
  assert.equal(code, 1);
  assert.match(stderr, /not healthy \(GET \/health answers 503\)/);
  assert.deepEqual(worker.requests, []);
});

test("a missing container is named with the command that creates it", async (t) => {
  const worker = await FakeWorker.start(t, container);
  const { code, stderr } = await runWith(worker, ["--container", "missing"]);
  assert.equal(code, 1);
  assert.match(stderr, /\(container missing\): ContainerNotFound; create it with `npm run create-container`/);
  assert.deepEqual(worker.requests, []);
});

test("a wrong key is named and not shown", async (t) => {
  const worker = await FakeWorker.start(t, container);
  const url = new URL(container.url).origin;
  const key = Buffer.from("a wrong key").toString("base64");
  const environment = { AZURE_STORAGE_CONNECTION_STRING: connectionString(url, key) };
  const { code, stdout, stderr } = await runWith(worker, [], environment);
  assert.equal(code, 1);
  assert.match(stderr, /is the key in AZURE_STORAGE_CONNECTION_STRING right/);
  assert.ok(!(stdout + stderr).includes(key));
});

test("a storage that is away is named", async (t) => {
  const worker = await FakeWorker.start(t, container);
  const environment = { AZURE_STORAGE_CONNECTION_STRING: connectionString("http://127.0.0.1:1") };
  const { code, stderr } = await runWith(worker, [], environment);
  assert.equal(code, 1);
  assert.match(stderr, /cannot upload .*ECONNREFUSED/);
});

test("Ctrl-C ends the example at once", async (t) => {
  const worker = await FakeWorker.start(t, container, { silent: true });
  const words = ["main.js", track];
  const environment = { AZURE_STORAGE_CONNECTION_STRING: storage, ANALYSIS_URL: worker.url, GENERATION_URL: worker.url };
  const { code, stderr } = await run(words, environment, (text, child) => {
    if (text.includes("accepted as job")) child.kill("SIGINT");
  });
  assert.deepEqual([code, stderr], [130, "interrupted\n"]);
});

const WRONG_USAGE = {
  "no track": [[], /give one TRACK/],
  "an unknown option": [["--loud", "x.mp3"], /'--loud'.*--help/s],
  "an unknown stem": [["--stems", "banjo", "x.mp3"], /--stems: there is no "banjo"; choose from vocals/],
  "a stem twice": [["--stems", "bass,bass", "x.mp3"], /--stems: a name is given twice/],
  "no number": [["--bpm", "fast", "x.mp3"], /--bpm: "fast" is no number/],
  "no address": [["--analysis-url", "localhost:8001", "x.mp3"], /--analysis-url: "localhost:8001" is no address/],
  "no port": [["--callback-port", "65536", "x.mp3"], /--callback-port: "65536" is no whole number from 0 to 65535/],
};

for (const [name, [words, message]] of Object.entries(WRONG_USAGE)) {
  test(`${name}: wrong usage`, async () => {
    const { code, stderr } = await run(["main.js", ...words], { AZURE_STORAGE_CONNECTION_STRING: storage });
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  });
}

test("without a connection string, or with a wrong one, the variable is named and its value is not shown", async () => {
  const missing = await run(["main.js", track], {});
  assert.deepEqual([missing.code, /set AZURE_STORAGE_CONNECTION_STRING/.test(missing.stderr)], [2, true]);
  const wrong = await run(["main.js", track], { AZURE_STORAGE_CONNECTION_STRING: "AccountKey=hidden" });
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /AZURE_STORAGE_CONNECTION_STRING is no connection string/);
  assert.ok(!wrong.stderr.includes("hidden"));
});

test("a track that cannot be read is named before anything is asked", async (t) => {
  const worker = await FakeWorker.start(t, container, { unhealthy: true });
  const environment = { AZURE_STORAGE_CONNECTION_STRING: storage, ANALYSIS_URL: worker.url };
  const { code, stderr } = await run(["main.js", join(folder, "missing.mp3")], environment);
  assert.equal(code, 1);
  assert.match(stderr, /the track cannot be read: .*missing\.mp3/);
  const of = await run(["main.js", folder], environment);
  assert.match(of.stderr, /is no file/);
  assert.ok(!existsSync(join(folder, "missing.mp3")));
});

test("--help explains and asks for nothing", async () => {
  const { code, stdout } = await run(["main.js", "--help"], {});
  assert.equal(code, 0);
  for (const word of ["--callback-url", "AZURE_STORAGE_CONNECTION_STRING", "Exit status", "Example"]) {
    assert.ok(stdout.includes(word), word);
  }
});
