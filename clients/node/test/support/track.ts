/** Tracks to separate: a chord with clicks, as 16-bit stereo WAV files at 44.1 kHz. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { Encoding, wavHeader } from "mismo-client";

export const RATE = 44_100;

/** Returns the bytes of a WAV file, the same for equal arguments. Another `pitch` makes another song. */
export function wav(seconds: number, pitch = 1): Buffer {
  const frames = Math.round(seconds * RATE);
  const samples = new Int16Array(frames * 2);
  for (let frame = 0; frame < frames; frame++) {
    const time = frame / RATE;
    const chord = Math.sin(880 * pitch * time) + Math.sin(1318 * pitch * time) + Math.sin(2218 * time + time);
    const click = frame % 22_050 < 400 ? Math.sin(frame * frame) : 0;
    samples[2 * frame] = 5000 * chord + 9000 * click;
    samples[2 * frame + 1] = 5000 * chord - 9000 * click;
  }
  const format = { encoding: Encoding.PCM_S16LE, sampleRate: RATE, channels: 2 };
  return Buffer.concat([wavHeader(format, frames), Buffer.from(samples.buffer)]);
}

/** Writes such a file and returns its path. */
export function track(folder: string, name: string, seconds: number, pitch?: number): string {
  const path = join(folder, name);
  writeFileSync(path, wav(seconds, pitch));
  return path;
}
