/** CRC-32C (Castagnoli), the checksum of each chunk. Processes eight bytes a step, so that it is not a bottleneck. */

const REVERSED_POLYNOMIAL = 0x82f63b78;
const STEP = 8;

/** At [256 k + b]: the CRC of the byte b followed by k zero bytes. One flat array is the fastest. */
const table = new Int32Array(STEP * 256);
for (let byte = 0; byte < 256; byte++) {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ REVERSED_POLYNOMIAL : sum >>> 1;
  table[byte] = sum;
}
for (let at = 256; at < table.length; at++) {
  const before = table[at - 256]!;
  table[at] = (before >>> 8) ^ table[before & 0xff]!;
}

/** Returns the CRC-32C of `data` as an unsigned 32-bit number. */
export function crc32c(data: Uint8Array): number {
  const whole = data.length - (data.length % STEP);
  let sum = -1;
  let at = 0;
  for (; at < whole; at += STEP) {
    sum ^= data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
    sum =
      table[0x700 + (sum & 0xff)]! ^
      table[0x600 + ((sum >>> 8) & 0xff)]! ^
      table[0x500 + ((sum >>> 16) & 0xff)]! ^
      table[0x400 + (sum >>> 24)]! ^
      table[0x300 + data[at + 4]!]! ^
      table[0x200 + data[at + 5]!]! ^
      table[0x100 + data[at + 6]!]! ^
      table[data[at + 7]!]!;
  }
  for (; at < data.length; at++) sum = (sum >>> 8) ^ table[(sum ^ data[at]!) & 0xff]!;
  return ~sum >>> 0;
}
