/** CRC-32C (Castagnoli), the checksum of every chunk; eight bytes a step, so that it is no bottleneck. */

const REVERSED_POLYNOMIAL = 0x82f63b78;
const STEP = 8;

/** `tables[k][b]`: what the byte b does to the sum with k zero bytes after it. */
const tables: Int32Array[] = Array.from({ length: STEP }, () => new Int32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ REVERSED_POLYNOMIAL : sum >>> 1;
  tables[0]![byte] = sum;
}
for (let k = 1; k < STEP; k++) {
  for (let byte = 0; byte < 256; byte++) {
    const before = tables[k - 1]![byte]!;
    tables[k]![byte] = (before >>> 8) ^ tables[0]![before & 0xff]!;
  }
}

/** The checksum of `data` as an unsigned 32-bit number. */
export function crc32c(data: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    ...[Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array],
  ];
  const whole = data.length - (data.length % STEP);
  let sum = -1;
  let at = 0;
  for (; at < whole; at += STEP) {
    sum ^= data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
    sum =
      t7[sum & 0xff]! ^
      t6[(sum >>> 8) & 0xff]! ^
      t5[(sum >>> 16) & 0xff]! ^
      t4[sum >>> 24]! ^
      t3[data[at + 4]!]! ^
      t2[data[at + 5]!]! ^
      t1[data[at + 6]!]! ^
      t0[data[at + 7]!]!;
  }
  for (; at < data.length; at++) sum = (sum >>> 8) ^ t0[(sum ^ data[at]!) & 0xff]!;
  return ~sum >>> 0;
}
