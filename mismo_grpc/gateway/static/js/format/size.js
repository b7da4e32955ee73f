/** Sizes of files as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/**
 * Bytes in the unit that fits, decimal: "3.4 MB".
 * @param {number} bytes
 */
export function fileSize(bytes) {
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}
