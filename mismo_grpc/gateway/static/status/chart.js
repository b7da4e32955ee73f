/** A small chart of values over time: SVG for the eye, a sentence and a table for all others. */

import { element, svg } from "../dom.js";
import { UNKNOWN, clock } from "./format.js";

const WIDTH = 300;
const HEIGHT = 96;
const TABLE_ROWS = 12;

export class Chart {
  /**
   * @param {HTMLElement} figure Where it is drawn.
   * @param {{title: string, unit: string, format: (value: number) => string, seconds: number, least?: number, binary?: boolean,
   *          series: {name: string, tone: string, value: (point: any) => number | undefined}[]}} options
   * `seconds`: how long the time axis is at most; `least`: the least height of the value axis; `binary`: its marks are round
   * in powers of 2, as for bytes; `tone`: a class of the stylesheet.
   */
  constructor(figure, options) {
    this.options = options;
    this.points = [];
    this.figure = figure;
    this.current = options.series.map(() => element("strong", {}, UNKNOWN));
    this.top = element("span", { class: "chart-top" }, "");
    this.plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.from = element("span");
    this.empty = element("span", { class: "chart-empty" }, "Collecting values…");
    this.details = element("details", {}, element("summary", {}, "Values", element("span", { class: "visually-hidden" }, ` of ${options.title}`)));
    this.body = element("tbody");
    const several = options.series.length > 1;
    const head = ["Time", ...options.series.map((series) => `${several ? series.name : options.title}${options.unit ? `, ${options.unit}` : ""}`)];
    this.details.append(
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Values of ${options.title}` },
        element("table", {},
          element("caption", { class: "visually-hidden" }, options.title),
          element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
          this.body)),
    );
    this.details.addEventListener("toggle", () => this.#fillTable());
    figure.replaceChildren(
      element("figcaption", {},
        element("span", { class: "chart-title" }, options.title),
        element("span", { class: "chart-now" },
          ...options.series.map((series, index) =>
            element("span", { class: `key ${series.tone}` }, several ? element("span", {}, series.name) : "", this.current[index]))),
        options.unit ? element("span", { class: "chart-unit" }, options.unit) : ""),
      element("div", { class: "chart-plot" }, this.plot, this.top, this.empty),
      element("div", { class: "chart-axis", "aria-hidden": "true" }, this.from, element("span", {}, "now")),
      this.details,
    );
    this.#draw();
  }

  /** Shows these points, the oldest first; each has `at` (seconds) and `time` (a Date). */
  show(points) {
    this.points = points;
    this.#draw();
    this.#fillTable();
  }

  #draw() {
    const { series, format, title, unit, least = 1, binary = false } = this.options;
    const end = this.points.at(-1)?.at ?? 0;
    const lines = series.map(({ value }) =>
      this.points.map((point) => ({ at: point.at, value: value(point) })).filter((point) => point.value !== undefined));
    const seconds = this.#span(end - (this.points[0]?.at ?? end));
    const top = niceCeiling(Math.max(least, ...lines.flat().map((point) => point.value)), binary);
    const x = (at) => WIDTH - ((end - at) / seconds) * WIDTH;
    const y = (value) => HEIGHT - (value / top) * (HEIGHT - 4) - 1;
    const marks = [0.25, 0.5, 0.75].map((share) =>
      svg("path", { class: "grid", d: `M0 ${(HEIGHT * share).toFixed(1)}H${WIDTH}` }));
    const drawn = lines.flatMap((points, index) => {
      if (points.length < 2) return [];
      const path = points.map((point, at) => `${at ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
      const line = svg("path", { class: `line ${series[index].tone}`, d: path });
      if (series.length > 1) return [line];
      const area = `${path}L${x(points.at(-1).at).toFixed(1)} ${HEIGHT}L${x(points[0].at).toFixed(1)} ${HEIGHT}Z`;
      return [svg("path", { class: `area ${series[index].tone}`, d: area }), line];
    });
    this.plot.replaceChildren(...marks, ...drawn);
    this.empty.hidden = lines.some((points) => points.length >= 2);
    this.top.textContent = format(top);
    this.from.textContent = `${seconds / 60} min ago`;
    const sentences = lines.map((points, index) => {
      const name = series.length > 1 ? `${series[index].name}: ` : "";
      if (!points.length) return `${name}no values yet`;
      const values = points.map((point) => point.value);
      return `${name}now ${format(values.at(-1))}, from ${format(Math.min(...values))} to ${format(Math.max(...values))}`;
    });
    this.current.forEach((where, index) => {
      const last = lines[index].at(-1);
      where.textContent = last ? format(last.value) : UNKNOWN;
    });
    this.plot.setAttribute("aria-label", `${title}${unit ? ` (${unit})` : ""}. ${sentences.join(". ")}.`);
  }

  /** The length of the time axis: the first that fits all points. */
  #span(needed) {
    const spans = [60, 120, 300].filter((span) => span < this.options.seconds);
    return spans.find((span) => span >= needed) ?? this.options.seconds;
  }

  #fillTable() {
    if (!this.details.open) return;
    const step = Math.max(1, Math.ceil(this.points.length / TABLE_ROWS));
    const rows = this.points.toReversed().filter((_, index) => index % step === 0);
    this.body.replaceChildren(...rows.map((point) =>
      element("tr", {}, element("th", { scope: "row" }, clock(point.time)),
        ...this.options.series.map(({ value }) => {
          const number = value(point);
          return element("td", {}, number === undefined ? UNKNOWN : this.options.format(number));
        }))));
  }
}

/** The next round number that is not below a value: 1, 2, 2.5, 5, 10, ..., or a power of 2. */
export function niceCeiling(value, binary = false) {
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 2.5, 5, 10].find((step) => power * step >= value * 0.999999);
}
