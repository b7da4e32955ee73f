/** The line at the top that tells when the server is away. */

import { announce } from "../ui/announce.js";
import { sentence } from "../server/remedies.js";
import { byId, setText } from "../ui/dom.js";

/** Short breaks are mended before anybody needs to know. */
const PATIENCE_MS = 1200;

export class Banner {
  #lost = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {"open" | "lost"} state
   * @param {any} [error]
   */
  show(state, error) {
    if (state === "open") {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      byId("banner").hidden = true;
      if (this.#lost) announce("Connected again");
      this.#lost = false;
      return;
    }
    if (this.#lost || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#lost = true;
      setText(byId("banner-text"), `${whatHappened(error)} Reconnecting …`);
      byId("banner").hidden = false;
    }, PATIENCE_MS);
  }
}

/** @param {{reason: string, message: string} | undefined} error */
function whatHappened(error) {
  if (error?.reason === "SERVER_DRAINING") return "The server is restarting.";
  if (error?.reason === "WEBSOCKET_REFUSED" || error?.reason === "OVERLOADED") return sentence(error.message);
  return "The server cannot be reached.";
}
