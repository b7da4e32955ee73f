/** Tracks to separate: a chord with clicks, as 16-bit stereo WAV at 44.1 kHz. */

import { writeFileSync } from "node:fs";

import { Encoding, wavHeader } from "mismo-client";

const RATE = 44_100;
/** Of the stem files: with room for what makes them RF64. */
export const HEADER_BYTES = 80;
export const FRAME_BYTES = 4;

/** Writes such a file; its number of frames. The same every time. */
export function writeTrack(path, seconds) {
  const frames = Math.round(seconds * RATE);
  const samples = new Int16Array(frames * 2);
  for (let frame = 0; frame < frames; frame++) {
    const time = frame / RATE;
    const chord = Math.sin(700 * time) + Math.sin(1100 * time) + Math.sin(2300 * time + time * time);
    const click = frame % 22_050 < 400 ? Math.sin(frame * frame) : 0;
    samples[2 * frame] = 5000 * chord + 9000 * click;
    samples[2 * frame + 1] = 4000 * chord - 9000 * click;
  }
  const format = { encoding: Encoding.PCM_S16LE, sampleRate: RATE, channels: 2 };
  writeFileSync(path, Buffer.concat([wavHeader(format, frames), Buffer.from(samples.buffer)]));
  return frames;
}
