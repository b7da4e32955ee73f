/** One stem of a player: its volume, place, mute and solo, and its level. */

/** Changes take so long, so that they do not click. */
const RAMP_SECONDS = 0.015;
/** Level of silence. */
const FLOOR_DB = -120;

/** A channel strip. Set its properties at any time; changes are ramped. */
export class StemChannel {
  /** The stem's name, such as "vocals". */
  readonly name: string;
  /** Hears the stem after volume and pan, as it goes to the mix. */
  readonly analyser: AnalyserNode;
  /** @internal Where the player connects its sources. */
  readonly input: GainNode;
  readonly #context: BaseAudioContext;
  readonly #panner: StereoPannerNode;
  readonly #window: Float32Array<ArrayBuffer>;
  readonly #onChange: () => void;
  #volume = 1;
  #pan = 0;
  #muted = false;
  #soloed = false;

  /** @internal */
  constructor(name: string, context: BaseAudioContext, output: AudioNode, onChange: () => void) {
    this.name = name;
    this.#context = context;
    this.#onChange = onChange;
    this.input = context.createGain();
    this.#panner = context.createStereoPanner();
    this.analyser = context.createAnalyser();
    this.analyser.fftSize = 2048;
    this.#window = new Float32Array(this.analyser.fftSize);
    this.input.connect(this.#panner).connect(this.analyser).connect(output);
  }

  /** 0 to 1. */
  get volume(): number {
    return this.#volume;
  }

  set volume(value: number) {
    this.#volume = within(value, 0, 1);
    this.#onChange();
  }

  /** -1 (left) to 1 (right). */
  get pan(): number {
    return this.#pan;
  }

  set pan(value: number) {
    this.#pan = within(value, -1, 1);
    ramp(this.#panner.pan, this.#pan, this.#context.currentTime);
  }

  get muted(): boolean {
    return this.#muted;
  }

  set muted(value: boolean) {
    this.#muted = value;
    this.#onChange();
  }

  /** While any stem is soloed, only soloed stems are heard. */
  get soloed(): boolean {
    return this.#soloed;
  }

  set soloed(value: boolean) {
    this.#soloed = value;
    this.#onChange();
  }

  /** The level of the last 46 ms in dBFS (RMS), -120 for silence. */
  level(): number {
    this.analyser.getFloatTimeDomainData(this.#window);
    let sum = 0;
    for (const value of this.#window) sum += value * value;
    return Math.max(FLOOR_DB, 10 * Math.log10(sum / this.#window.length));
  }

  /** @internal Sets the gain for these circumstances. */
  apply(someSoloed: boolean): void {
    const isHeard = !this.#muted && (!someSoloed || this.#soloed);
    ramp(this.input.gain, isHeard ? this.#volume : 0, this.#context.currentTime);
  }

  /** @internal */
  disconnect(): void {
    this.analyser.disconnect();
  }
}

/** Moves a parameter to a value without a click; `now` is the context's time. */
export function ramp(parameter: AudioParam, value: number, now: number): void {
  parameter.cancelScheduledValues(0);
  // From the present value; a linear ramp would begin at the last event.
  parameter.setTargetAtTime(value, now, RAMP_SECONDS / 4);
}

/** Throws RangeError unless low <= value <= high. */
export function within(value: number, low: number, high: number): number {
  if (!(value >= low && value <= high)) throw new RangeError(`${value} is not between ${low} and ${high}`);
  return value;
}
