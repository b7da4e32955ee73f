/** What the tests of the client run in the page. */

/** Waits for an event of an emitter that fits. */
export function happened(target, type, fits = () => true) {
  return new Promise((resolve) => {
    const end = target.on(type, (detail) => {
      if (!fits(detail)) return;
      end();
      resolve(detail);
    });
  });
}

/** Waits until a condition holds; for what no event tells. */
export async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const RECORDER = `registerProcessor("recorder", class extends AudioWorkletProcessor {
  process(inputs) {
    this.port.postMessage(inputs.map(([left]) => left?.slice()));
    return true;
  }
});`;

/** Records the left channels of some nodes on one timeline, from now on; returns the tape. */
export async function record(context, nodes) {
  const url = URL.createObjectURL(new Blob([RECORDER], { type: "text/javascript" }));
  await context.audioWorklet.addModule(url);
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfInputs: nodes.length });
  const tape = [];
  recorder.port.onmessage = ({ data }) => tape.push(data);
  nodes.forEach((node, index) => node.connect(recorder, 0, index));
  // A node that leads nowhere is not run.
  recorder.connect(context.destination);
  return tape;
}

/** One track of a tape, as base64 of 32-bit floats. */
export function trackOf(tape, index) {
  const whole = new Float32Array(tape.length * 128);
  tape.forEach((block, at) => block[index] && whole.set(block[index], at * 128));
  const bytes = new Uint8Array(whole.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

/** The loudest sample of a track in the last blocks of a tape. */
export function loudest(tape, index, blocks = 40) {
  return Math.max(...tape.slice(-blocks).map((block) => Math.max(...(block[index] ?? [0]).map(Math.abs))));
}
