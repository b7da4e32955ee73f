/** The programs of the README do what they say. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { after, before, describe, test } from "node:test";

import { noServer, Server } from "./support/server.js";
import { RATE, track } from "./support/track.js";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
// Inside the package, so that they find it by its name.
const FOLDER = join(PACKAGE, "build/examples");

describe("the examples of the README", { skip: noServer }, () => {
  let server: Server;
  let song: string;
  let container: string;

  before(async () => {
    const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
    mkdirSync(FOLDER, { recursive: true });
    for (const [, program] of readme.matchAll(/```js\n(.*?)```/gs)) {
      const name = /^\/\/ node (\S+)/.exec(program!)![1]!;
      writeFileSync(join(FOLDER, name), program!);
    }
    container = mkdtempSync(join(tmpdir(), "mismo-container-"));
    server = new Server({ MISMO_BLOB_CONTAINER: pathToFileURL(container).href });
    await server.start();
    song = track(server.music, "song.wav", 5);
  });

  after(async () => {
    await server.close();
    rmSync(container, { recursive: true, force: true });
  });

  const run = async (name: string, ...rest: string[]): Promise<string> => {
    const command = [join(FOLDER, name), server.address, song, ...rest];
    return (await promisify(execFile)(process.execPath, command)).stdout;
  };

  test("separate.mjs", async () => {
    const target = join(server.music, "vocals.wav");
    const output = await run("separate.mjs", target);
    assert.match(output, /SUCCEEDED/);
    assert.match(output, new RegExp(`${5 * RATE} frames in`));
    assert.equal(statSync(target).size, 44 + 5 * RATE * 4);
  });

  test("play.mjs", async () => {
    const output = await run("play.mjs", "2");
    assert.match(output, /drums, bass, other, vocals: 2 channels at 44100 Hz/);
    assert.match(output, /is at frame \d+/);
  });

  test("upload.mjs", async () => {
    const target = join(server.music, "stems.zip");
    const output = await run("upload.mjs", target);
    assert.match(output, /bytes of application\/zip in .*stems.zip/);
    assert.match(output, /^-\d+\.?\d* LUFS$/m);
    assert.ok(statSync(target).size > 1000);
  });

  test("generate.mjs", async () => {
    const target = join(server.music, "bass.flac");
    const command = [join(FOLDER, "generate.mjs"), server.address, target];
    const output = (await promisify(execFile)(process.execPath, command)).stdout;
    assert.match(output, new RegExp(`^${4 * RATE} frames in `));
    assert.match(output, /^generated\/[0-9a-f]+\/bass\.wav file:\/\/.*\/bass\.wav \d+$/m);
    assert.equal(readFileSync(target).subarray(0, 4).toString(), "fLaC");
  });

  test("follow.mjs, twice", async () => {
    const cursorFile = join(server.music, "cursor.txt");
    const follow = async (): Promise<string> => {
      const command = [join(FOLDER, "follow.mjs"), server.address, cursorFile];
      return (await promisify(execFile)(process.execPath, command)).stdout;
    };
    // The job of upload.mjs has the label.
    assert.match(await follow(), / SUCCEEDED$/m);
    assert.equal(await follow(), "");
  });
});
