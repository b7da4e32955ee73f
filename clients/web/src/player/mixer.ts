/** The audio graph of a player: a channel for each stem, and the mix of all. */

import { Code } from "@connectrpc/connect";

import { MismoError } from "../rpc/errors.js";
import type { TrackInfo } from "../stems/track-info.js";
import { ramp, StemChannel } from "./stem-channel.js";

/** Makes and owns the graph; `context` only if none is given. */
export class Mixer {
  readonly context: AudioContext;
  readonly output: GainNode;
  readonly stems: readonly StemChannel[];
  readonly #isOwner: boolean;

  /** Throws MismoError (SAMPLE_RATE) if the context's rate is not the track's. */
  constructor(track: TrackInfo, context: AudioContext | undefined, volume: number) {
    this.#isOwner = context === undefined;
    this.context = context ?? new AudioContext({ sampleRate: track.sampleRate });
    if (this.context.sampleRate !== track.sampleRate) {
      // The browser would resample each block for itself, and their seams would be heard.
      throw new MismoError(
        Code.FailedPrecondition,
        `the AudioContext runs at ${this.context.sampleRate} Hz and the stems have ${track.sampleRate} Hz; ` +
          `make it with {sampleRate: ${track.sampleRate}}`,
        { reason: "SAMPLE_RATE" },
      );
    }
    this.output = this.context.createGain();
    this.output.gain.value = volume;
    this.output.connect(this.context.destination);
    const apply = (): void => {
      const someSoloed = this.stems.some((stem) => stem.soloed);
      for (const stem of this.stems) stem.apply(someSoloed);
    };
    this.stems = track.stemNames.map((name) => new StemChannel(name, this.context, this.output, apply));
  }

  /** Lets the context run. Browsers let a page make sound after the user has touched it; till then this waits. */
  resume(): void {
    // It fails if the context is closed meanwhile.
    this.context.resume().catch(() => undefined);
  }

  set volume(value: number) {
    ramp(this.output.gain, value, this.context.currentTime);
  }

  /** Takes the graph apart. */
  async close(): Promise<void> {
    for (const stem of this.stems) stem.disconnect();
    this.output.disconnect();
    if (this.#isOwner) await this.context.close();
  }
}
