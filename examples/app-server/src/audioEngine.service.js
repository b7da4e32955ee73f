/** The audio engine's WebSocket: it asks for a track, gets its path at once and its stems as soon as there are any. */

import { WebSocketServer } from "ws";

export const ENGINE_PATH = "/engine";

/** Commands are small. */
const MAX_MESSAGE_BYTES = 64 << 10;
const PING_MS = 30_000;

export class AudioEngines {
  #library;
  #queue;
  #log;
  #sockets;
  #pinging;

  /**
   * @param {object} parts
   * @param {import("./library.service.js").Library} parts.library
   * @param {import("./analysisQueue.service.js").AnalysisQueue} parts.queue
   */
  constructor({ library, queue, log }) {
    this.#library = library;
    this.#queue = queue;
    this.#log = log;
  }

  /** Engines connect to ENGINE_PATH of this HTTP server. */
  attach(httpServer) {
    this.#sockets = new WebSocketServer({
      server: httpServer,
      path: ENGINE_PATH,
      maxPayload: MAX_MESSAGE_BYTES,
      // Browsers say where a page came from; engines are no pages, and pages shall not play engine.
      verifyClient: ({ req }) => req.headers.origin === undefined,
    });
    this.#sockets.on("connection", (socket) => this.#welcome(socket));
    this.#pinging = setInterval(() => this.#ping(), PING_MS);
  }

  close() {
    clearInterval(this.#pinging);
    for (const socket of this.#sockets?.clients ?? []) socket.terminate();
    this.#sockets?.close();
  }

  #welcome(socket) {
    this.#log.info("Audio engine connected");
    socket.isAlive = true;
    socket.on("pong", () => (socket.isAlive = true));
    socket.on("error", (error) => this.#log.warn(`Audio engine: ${error.message}`));
    socket.on("close", () => this.#log.info("Audio engine disconnected"));
    socket.on("message", (data, isBinary) => this.#take(socket, isBinary ? "" : data.toString()));
  }

  #take(socket, text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      message = undefined;
    }
    const { command, requestId = null } = message ?? {};
    if (command !== "getTrackInfo") {
      send(socket, { success: false, requestId, error: `unknown command ${JSON.stringify(command ?? null)}` });
      return;
    }
    this.#trackInfo(socket, message, requestId);
  }

  #trackInfo(socket, { trackId, stems }, requestId) {
    const track = this.#library.track(trackId);
    if (track === undefined) {
      send(socket, { success: false, requestId, trackId, error: "there is no such track" });
      return;
    }
    // The engine plays the track itself until its stems are there.
    send(socket, { success: true, requestId, trackId, filePath: track.path, title: track.title });
    if (stems !== true) return;
    let job;
    try {
      // Somebody waits in front of the decks: ahead of everything in the background.
      job = this.#queue.request(track, "high");
    } catch (error) {
      send(socket, { success: false, type: "stemsFailed", requestId, trackId, error: errorView(error) });
      return;
    }
    void job.ended.then(() => {
      const answer =
        job.error === null
          ? { success: true, type: "stemsReady", requestId, trackId, stems: job.stems }
          : { success: false, type: "stemsFailed", requestId, trackId, error: errorView(job.error) };
      send(socket, answer);
      this.#log.info(`${answer.type} for ${track.title}`);
    });
  }

  #ping() {
    for (const socket of this.#sockets.clients) {
      if (!socket.isAlive) socket.terminate();
      socket.isAlive = false;
      socket.ping();
    }
  }
}

/** An error as engines and browsers see it. */
export function errorView(error) {
  return { code: error.reason || error.codeName || error.code || "INTERNAL", message: error.message };
}

function send(socket, message) {
  // An engine that has gone asks again when it is back.
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message));
}
