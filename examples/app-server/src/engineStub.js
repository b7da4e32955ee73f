/**
 * An audio engine without audio: asks for tracks and tells what it is answered.
 *
 *     npm run engine -- TRACK_ID [ws://127.0.0.1:3000/engine]
 */

import { once } from "node:events";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { WebSocket } from "ws";

export class EngineStub {
  #socket;
  #answers = [];
  #wake = () => {};
  #broken;
  #count = 0;

  /** @param {string} url */
  static async connect(url) {
    const socket = new WebSocket(url);
    await once(socket, "open");
    return new EngineStub(socket);
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on("message", (data) => {
      this.#answers.push(JSON.parse(data.toString()));
      this.#wake();
    });
    socket.on("close", () => {
      this.#broken = new Error("the app server closed the connection");
      this.#wake();
    });
    socket.on("error", () => {});
  }

  /** Asks for a track and its stems; the request's id. */
  ask(trackId, stems = true) {
    const requestId = `request-${++this.#count}`;
    this.send({ command: "getTrackInfo", trackId, stems, requestId });
    return requestId;
  }

  send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /** The next answer, in the order they come. */
  async next() {
    while (this.#answers.length === 0) {
      if (this.#broken) throw this.#broken;
      await new Promise((resolve) => (this.#wake = resolve));
    }
    return this.#answers.shift();
  }

  close() {
    this.#socket.close();
  }
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [trackId, url = "ws://127.0.0.1:3000/engine"] = process.argv.slice(2);
  if (trackId === undefined) {
    console.error("which track? GET /api/tracks has their ids");
    process.exit(2);
  }
  const engine = await EngineStub.connect(url);
  engine.ask(trackId);
  const info = await engine.next();
  console.log(info);
  if (info.success) console.log(await engine.next());
  engine.close();
}
