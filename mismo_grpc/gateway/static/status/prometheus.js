/** Reads Prometheus' text format, and derives rates and quantiles from it. */

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** The samples of one scrape. Values are numbers in the units of the metrics: seconds and bytes. */
export class Scrape {
  /** @param {string} text Prometheus' text format. @param {number} at When it was read, in seconds of any clock. */
  constructor(text, at) {
    this.at = at;
    /** @type {Map<string, {labels: Record<string, string>, value: number}[]>} */
    this.samples = new Map();
    for (const line of text.split("\n")) {
      const parts = line.startsWith("#") ? null : SAMPLE.exec(line);
      if (!parts) continue;
      const labels = {};
      for (const [, name, value] of (parts[2] ?? "").matchAll(LABEL)) {
        labels[name] = value.replace(/\\[n"\\]/g, (escaped) => ESCAPES[escaped]);
      }
      const list = this.samples.get(parts[1]) ?? [];
      list.push({ labels, value: Number(parts[3].replace("Inf", "Infinity")) });
      this.samples.set(parts[1], list);
    }
  }

  /** All samples of a metric. */
  all(name) {
    return this.samples.get(name) ?? [];
  }

  /** The sum of the samples that have these labels; undefined if there are none. */
  sum(name, labels = {}) {
    const found = this.all(name).filter((sample) =>
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
    return found.length ? found.reduce((total, sample) => total + sample.value, 0) : undefined;
  }

  /** An estimate of a histogram's quantile, interpolated in its bucket as Prometheus does; undefined without observations. */
  quantile(name, share) {
    const buckets = this.all(`${name}_bucket`)
      .map(({ labels, value }) => ({ to: Number(labels.le.replace("Inf", "Infinity")), count: value }))
      .sort((one, other) => one.to - other.to);
    const total = buckets.at(-1)?.count ?? 0;
    if (!total) return undefined;
    const rank = share * total;
    let from = 0;
    let below = 0;
    for (const { to, count } of buckets) {
      if (count >= rank && count > below) {
        return to === Infinity ? from : from + (to - from) * ((rank - below) / (count - below));
      }
      from = to;
      below = count;
    }
    return from;
  }
}

/** How fast a counter grows between two scrapes, per second; a counter that fell was reset to 0 in between. */
export function rate(before, after, name, labels = {}) {
  const seconds = after.at - before.at;
  if (!(seconds > 0)) return undefined;
  const first = before.sum(name, labels) ?? 0;
  const last = after.sum(name, labels) ?? 0;
  return (last < first ? last : last - first) / seconds;
}
