/** The open track: puts its parts together and moves them. */

import { Looper } from "../player/looper.js";
import { hasEnded, JobState, makesStems } from "../server/contract.js";
import { recall, remember } from "../server/stored.js";
import { announce } from "../ui/announce.js";
import { h, setAttribute } from "../ui/dom.js";
import { everyFrame, throttled } from "../ui/frames.js";
import { Deck } from "./deck.js";
import { Downloads } from "./downloads.js";
import { TrackHead } from "./head.js";
import { Overview } from "./overview.js";
import { playerKeys } from "./player-keys.js";
import { stateLine } from "./state-line.js";
import { Transport } from "./transport.js";

/** @typedef {import("./session.js").TrackSession} TrackSession */

export class TrackView {
  /** @type {Deck | undefined} */
  deck = undefined;
  volume = Math.min(1, Math.max(0, recall("master-volume", 1)));
  /** Whether the person wants to hear it; the player starts as soon as it can. */
  wanted = false;
  #abort = new AbortController();
  #said = "";
  #dirty = true;
  #shownSeconds = -1;
  /** @type {{player: any, key: string}} */
  #applied = { player: undefined, key: "" };

  /**
   * @param {TrackSession} session
   * @param {{cancel: () => void, remove: () => void, replay: () => void, another: () => void, priority: (priority: number) => void}} act
   * @param {{playAtOnce: boolean}} options
   */
  constructor(session, act, { playAtOnce }) {
    this.session = session;
    this.wanted = playAtOnce;
    this.looper = new Looper(() => ({ duration: session.duration, beats: session.rhythm.beats }));
    this.head = new TrackHead(act);
    this.overview = new Overview(session, (stem) => this.deck?.audible(stem) ?? true);
    this.transport = new Transport(playerKeys(this), this.volume);
    this.downloads = new Downloads(session.jobId);
    this.deckPlace = h("div", { class: "deck-place" });
    this.element = h("article", { class: "track", "data-testid": "track" },
      this.head.element, this.overview.element, this.deckPlace, this.downloads.element, this.transport.element);
    this.#on(session, "change", () => this.#showJob());
    this.#on(session, "stems", () => this.#showStems());
    this.#on(session, "ready", () => this.#showReady());
    this.#on(session, "peaks", ({ start, end }) => {
      this.deck?.invalidate(start, end);
      this.overview.redraw();
    });
    this.#on(session, "playeropened", () => {
      session.player.volume = this.volume;
      if (this.wanted) this.#play();
    });
    this.#on(session, "player", () => this.#showPlayer());
    this.#on(this.overview, "seek", ({ seconds }) => this.seek(seconds));
    this.#on(this.looper, "change", () => this.#showLoop());
    this.stop = everyFrame((now) => this.#frame(now));
    this.refresh = throttled(() => this.#showState(), 250);
    this.ticker = setInterval(() => this.#showState(), 1000);
    if (session.job) this.#showJob();
    this.#showLoop();
    this.#showState();
  }

  /** The position in seconds. */
  get now() {
    return this.session.player?.currentTime ?? 0;
  }

  get playing() {
    const state = this.session.player?.state;
    return state === "playing" || state === "buffering";
  }

  toggle() {
    if (this.playing || this.wanted) {
      if (this.#silenced) {
        this.#play();
        return;
      }
      this.wanted = false;
      this.session.player?.pause();
    } else this.#play();
    this.#showPlayer();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const { player, duration } = this.session;
    if (!player || !duration) return;
    player.seek(Math.min(Math.max(0, seconds), Math.max(0, duration - 0.05)));
    this.deck?.setFollow(true);
    this.#showPlayer();
  }

  /** @param {number} value 0 to 1 */
  setVolume(value) {
    this.volume = Math.min(1, Math.max(0, value));
    remember("master-volume", this.volume);
    if (this.session.player) this.session.player.volume = this.volume;
    this.transport.showVolume(this.volume);
  }

  /** Draws all again, after a change of the theme. */
  redraw() {
    this.deck?.invalidate();
    this.overview.redraw();
    this.#dirty = true;
  }

  destroy() {
    this.#abort.abort();
    this.stop();
    this.refresh.cancel();
    clearInterval(this.ticker);
    this.deck?.destroy();
    this.overview.destroy();
    this.element.remove();
  }

  get #silenced() {
    return this.wanted && this.session.audioContext?.state === "suspended";
  }

  #play() {
    const { player, audioContext } = this.session;
    this.wanted = true;
    // Without a gesture the browser keeps the context suspended and this promise waiting.
    audioContext?.resume().then(() => this.#showPlayer(), () => undefined);
    void Promise.resolve(player?.play()).catch(() => this.#showPlayer());
  }

  #showJob() {
    const { session } = this;
    const { job } = session;
    this.refresh();
    if (!job) return;
    this.head.show(job);
    const stems = job.state === JobState.SUCCEEDED && job.stemSet?.sha256?.length ? job.stemSet.stemNames : [];
    this.downloads.show(stems);
    setAttribute(this.element, "data-downloads", stems.length > 0);
    setAttribute(this.element, "data-stems", !makesStems(job) || (hasEnded(job) && !session.totalFrames) ? "none" : "some");
    if (this.deck && this.marks !== this.#marksKey()) {
      this.marks = this.#marksKey();
      this.deck.showMarks();
      this.overview.showSections();
      setAttribute(this.element, "data-marks", session.sections.length + session.chords.length > 0);
    }
    if (hasEnded(job)) this.overview.redraw();
  }

  /**
   * Listens until the view is closed; what happens is drawn in the next frame.
   * @param {EventTarget} target
   * @param {string} name
   * @param {(detail: any) => void} handle
   */
  #on(target, name, handle) {
    target.addEventListener(name, (/** @type {any} */ event) => {
      this.#dirty = true;
      handle(event.detail);
    }, { signal: this.#abort.signal });
  }

  #marksKey() {
    const { rhythm, sections, chords } = this.session;
    return [rhythm.beats.length, sections.length, chords.length].join();
  }

  #showStems() {
    const { session } = this;
    const deck = new Deck(session, session.stemNames);
    this.deck = deck;
    this.#on(deck, "seek", ({ seconds }) => this.seek(seconds));
    this.#on(deck, "loop", ({ start, end }) => this.looper.drag(start, end));
    this.#on(deck, "mix", () => this.overview.redraw());
    this.#on(deck, "follow", () => this.#showFollow());
    this.#on(deck, "view", () => {});
    this.deckPlace.replaceChildren(deck.element);
    setAttribute(this.element, "data-marks", session.sections.length + session.chords.length > 0);
    this.#connect();
    this.overview.showSections();
  }

  #showReady() {
    this.deck?.invalidate();
    this.overview.redraw();
    this.refresh();
  }

  #showPlayer() {
    this.#connect();
    const player = this.session.player;
    this.#applyLoop();
    if (player?.state === "ended") this.wanted = false;
    this.#showState();
  }

  /** Connects the strips with the player's channels, once it knows them. */
  #connect() {
    for (const channel of this.session.player?.stems ?? []) {
      const strip = this.deck?.strips.get(channel.name);
      if (strip && strip.channel !== channel) strip.connect(channel);
    }
  }

  #showState() {
    const { session } = this;
    const { text, busy } = stateLine({
      job: session.job, connection: session.connection, player: session.player, silenced: this.#silenced,
    });
    this.transport.showState(text, busy);
    const waits = busy && this.wanted && session.player?.state === "buffering";
    this.deck?.showWait(waits ? text : "");
    this.transport.showPlaying((this.playing || this.wanted) && !this.#silenced);
    this.element.dataset.player = session.player?.state ?? "none";
    // Numbers change all the time; a screen reader hears only a new kind of state.
    const said = text.replace(/[\d.:]+/g, "");
    if (said !== this.#said) announce(text);
    this.#said = said;
  }

  #showLoop() {
    this.#applyLoop();
    this.transport.showLoop(this.looper.region, this.looper.active);
  }

  /** Gives the loop to the player, once it knows the track; only a new one, because it schedules all anew. */
  #applyLoop() {
    const { player } = this.session;
    const loop = this.looper.playing;
    const key = loop ? `${loop.start} ${loop.end}` : "";
    if (!player?.track || (this.#applied.player === player && this.#applied.key === key)) return;
    if (loop || player.loop) player.loop = loop;
    this.#applied = { player, key };
  }

  #showFollow() {
    this.#dirty = true;
    this.transport.follow.setAttribute("aria-pressed", String(this.deck?.follow ?? true));
  }

  /**
   * Zooms around the playhead if it is in view.
   * @param {number} factor
   */
  zoom(factor) {
    if (!this.deck) return;
    const x = this.deck.viewport.xOf(this.now);
    this.#dirty = true;
    this.deck.zoom(factor, x >= 0 && x <= this.deck.viewport.width ? x : undefined);
  }

  /** @param {number} now milliseconds */
  #frame(now) {
    if (document.hidden) return;
    const { session, deck, overview, looper } = this;
    const seconds = this.now;
    this.transport.showTime(seconds, session.duration);
    if (!deck) return;
    const playing = session.player?.state === "playing";
    for (const strip of deck.strips.values()) strip.meter(now, playing);
    if (!this.#dirty && seconds === this.#shownSeconds) return;
    this.#dirty = false;
    this.#shownSeconds = seconds;
    deck.move(seconds);
    deck.showLoop(looper.region, looper.active);
    overview.move(seconds, deck.viewport);
    overview.mark(seconds, looper.region, looper.active);
  }
}
