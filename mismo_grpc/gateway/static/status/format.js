/** Numbers as people read them. An unknown value is a dash. */

export const UNKNOWN = "–";
const known = (value) => typeof value === "number" && Number.isFinite(value);

/** A count, such as 12,345. */
export function count(value) {
  return known(value) ? Math.round(value).toLocaleString("en") : UNKNOWN;
}

/** A number with as many digits as it deserves. */
export function decimal(value) {
  if (!known(value)) return UNKNOWN;
  return value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2 });
}

/** Bytes, in binary units. */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value >= 1 ? Math.min(units.length - 1, Math.floor(Math.log2(value) / 10)) : 0;
  return `${decimal(value / 1024 ** power)} ${units[power]}`;
}

/** A duration in seconds. */
export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return `${decimal(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48 ? `${hours} h ${Math.floor((seconds % 3600) / 60)} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A share from 0 to 1. */
export function percent(share) {
  return known(share) ? `${Math.round(share * 100)} %` : UNKNOWN;
}

/** A time of day, in the reader's clock. */
export function clock(date) {
  return date.toLocaleTimeString("en-GB");
}

/** A date and time, in the reader's clock; only the time if it is today. */
export function moment(date) {
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(date) : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${clock(date)}`;
}
