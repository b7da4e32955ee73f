/** Records the left channel of what is connected to it, and its level, in blocks. */

const BLOCK_FRAMES = 2048;

class Recorder extends AudioWorkletProcessor {
  #block = new Float32Array(BLOCK_FRAMES);
  #filled = 0;

  /** @param {Float32Array[][]} inputs */
  process([[left]]) {
    if (left) this.#block.set(left, this.#filled);
    else this.#block.fill(0, this.#filled, this.#filled + 128);
    this.#filled += 128;
    if (this.#filled < BLOCK_FRAMES) return true;
    let sum = 0;
    for (const value of this.#block) sum += value * value;
    const rms = Math.max(-200, 10 * Math.log10(sum / BLOCK_FRAMES));
    // The frame after this call's 128.
    this.port.postMessage({ start: currentFrame + 128 - BLOCK_FRAMES, rms, samples: this.#block.slice() });
    this.#filled = 0;
    return true;
  }
}

registerProcessor("recorder", Recorder);
