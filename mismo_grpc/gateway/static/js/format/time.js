/** Times as people read and hear them. */

/**
 * Minutes and seconds, with hours if there are any: "1:23", "1:02:03".
 * @param {number} seconds
 * @param {{tenths?: boolean}} [form]
 */
export function clock(seconds, { tenths = false } = {}) {
  const unit = tenths ? 10 : 1;
  const whole = Math.floor(Math.max(0, Number.isFinite(seconds) ? seconds : 0) * unit + 1e-6);
  const total = Math.floor(whole / unit);
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor(total / 60) % 60;
  const rest = String(total % 60).padStart(2, "0");
  const head = hours ? `${hours}:${String(minutes).padStart(2, "0")}` : String(minutes);
  return tenths ? `${head}:${rest}.${whole % 10}` : `${head}:${rest}`;
}

/**
 * As a screen reader should say it: "1 minute 23 seconds".
 * @param {number} seconds
 */
export function spokenTime(seconds) {
  const total = Math.floor(Math.max(0, Number.isFinite(seconds) ? seconds : 0));
  const parts = [
    [Math.floor(total / 3600), "hour"],
    [Math.floor(total / 60) % 60, "minute"],
    [total % 60, "second"],
  ];
  const said = parts.filter(([count]) => count).map(([count, unit]) => counted(Number(count), String(unit)));
  return said.length ? said.join(" ") : "0 seconds";
}

/**
 * A number with its unit in the right form: "1 minute", "2 minutes".
 * @param {number} count
 * @param {string} unit
 */
export function counted(count, unit) {
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/**
 * A length of time without false precision: "2 s", "3 min", "26 h".
 * @param {number} seconds
 */
export function roughly(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/**
 * How long ago something was: "just now", "5 min ago", "3 d ago".
 * @param {number} seconds
 */
export function ago(seconds) {
  if (seconds < 45) return "just now";
  if (seconds < 48 * 3600) return `${roughly(seconds)} ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}
