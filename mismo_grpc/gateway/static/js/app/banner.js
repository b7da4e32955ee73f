/** The line at the top that tells when the server is away. */

import { announce } from "../ui/announce.js";
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
      const draining = error?.reason === "SERVER_DRAINING";
      setText(byId("banner-text"), draining ? "The server is restarting. Reconnecting …" : "The server cannot be reached. Reconnecting …");
      byId("banner").hidden = false;
    }, PATIENCE_MS);
  }
}
