/** The HTTP server that the workers' callbacks come to: the two endpoints of an API. */

import { once } from "node:events";
import { createServer } from "node:http";

import { reasonOf } from "./failure.js";

export const ANALYSIS_PATH = "/api/audio/analysis-callback";
export const GENERATION_PATH = "/api/generation/callback";
/** The field that names the request, by the path of the callback. */
const KEYS = { [ANALYSIS_PATH]: "audio_file_id", [GENERATION_PATH]: "generation_request_id" };
/** Beats and chords of an hour of music are less than 2 MiB. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

export class CallbackServer {
  #server = createServer((request, response) => void this.#handle(request, response));
  /** Who waits, by path and id. @type {Map<string, (body: object) => void>} */
  #waiting = new Map();

  /** Starts to listen; throws an Error of Node's if the port is taken. @returns {Promise<CallbackServer>} */
  static async listen(host, port) {
    const made = new CallbackServer();
    made.#server.listen(port, host);
    await once(made.#server, "listening");
    return made;
  }

  get port() {
    return this.#server.address().port;
  }

  /**
   * The body of the callback for one request. Call it before the request is sent: the callback may be faster than the
   * response. A repeated callback is accepted and has no effect.
   *
   * @param {string} path
   * @param {string} id
   * @returns {Promise<object>}
   */
  expect(path, id) {
    return new Promise((resolve) => this.#waiting.set(`${path} ${id}`, resolve));
  }

  /** Ends all connections too. */
  async close() {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(request, response) {
    let status, message;
    try {
      [status, message] = await this.#receive(request);
    } catch (error) {
      [status, message] = [400, reasonOf(error)];
    }
    // What was not read of a body is not read any more.
    if (!request.complete) response.setHeader("Connection", "close");
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ message }));
  }

  /** The status and a message. 410 for a request that nobody waits for: workers need not repeat such a callback. */
  async #receive(request) {
    const path = new URL(request.url, "http://host").pathname;
    const key = KEYS[path];
    if (key === undefined) return [404, `callbacks go to ${Object.keys(KEYS).join(" or ")}`];
    if (request.method !== "POST") return [405, "callbacks are sent with POST"];
    const parts = [];
    let size = 0;
    // The connection stays for the answer to a body that is too large.
    for await (const part of request.iterator({ destroyOnReturn: false })) {
      size += part.length;
      if (size > MAX_BODY_BYTES) return [413, `a callback has at most ${MAX_BODY_BYTES} bytes`];
      parts.push(part);
    }
    const body = JSON.parse(Buffer.concat(parts).toString("utf8"));
    const id = body?.[key];
    if (typeof id !== "string" || !["completed", "failed"].includes(body.status)) {
      return [400, `the callback needs ${key}, and a status that is completed or failed`];
    }
    const resolve = this.#waiting.get(`${path} ${id}`);
    if (resolve === undefined) return [410, `nobody waits for ${key} ${id}`];
    resolve(body);
    return [200, "accepted"];
  }
}
