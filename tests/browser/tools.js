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
  process([input]) {
    const [left, right] = input;
    this.port.postMessage(left ? [left.slice(), (right ?? left).slice()] : null);
    return true;
  }
});`;

/** Records everything that comes out of these nodes, whole, from now on; [[left, right], ...]. */
export async function record(context, nodes) {
  const url = URL.createObjectURL(new Blob([RECORDER], { type: "text/javascript" }));
  await context.audioWorklet.addModule(url);
  return nodes.map((node) => {
    const blocks = [];
    const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 1 });
    recorder.port.onmessage = ({ data }) => blocks.push(data ?? [new Float32Array(128), new Float32Array(128)]);
    node.connect(recorder);
    // A node that leads nowhere is not run.
    recorder.connect(context.destination);
    return blocks;
  });
}

/** The left channel of what was recorded, as base64 of 32-bit floats. */
export function leftOf(blocks) {
  const whole = new Float32Array(blocks.length * 128);
  blocks.forEach(([left], index) => whole.set(left, index * 128));
  const bytes = new Uint8Array(whole.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}
