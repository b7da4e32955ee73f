/** The status page: reads the metrics and the jobs every few seconds, and keeps their history while the page is open. */

import { element } from "../dom.js";
import { Chart } from "./chart.js";
import { FailureList, failuresOf } from "./failures.js";
import * as format from "./format.js";
import { Scrape, rate } from "./prometheus.js";
import { stateOf } from "./state.js";

const PERIOD_MS = 3000;
const PATIENCE_MS = 8000;
const HISTORY_SECONDS = 600;
const RATE_SECONDS = 60;
/** Every so many readings the jobs are read as well: a list costs the server more than the metrics. */
const READINGS_A_JOBS_LIST = 2;
const NEWEST_JOBS = 50;

const at = (id) => document.getElementById(id);
const text = (id, value) => {
  const node = at(id);
  if (node.textContent !== value) node.textContent = value;
};

/** One point of the history, from two scrapes in a row; what is rare is counted since `earlier`, a minute before. */
function point(earlier, before, after) {
  const busy = rate(before, after, "mismo_host_cpu_seconds_total", { mode: "busy" });
  const idle = rate(before, after, "mismo_host_cpu_seconds_total", { mode: "idle" });
  return {
    at: after.at,
    time: new Date(),
    audio: rate(earlier, after, "mismo_audio_seconds_total"),
    ended: perMinute(rate(earlier, after, "mismo_jobs_ended_total")),
    sent: rate(before, after, "mismo_bytes_sent_total"),
    cpu: busy + idle > 0 ? busy / (busy + idle) : undefined,
    memory: after.sum("process_resident_memory_bytes"),
    queued: after.sum("mismo_jobs", { state: "queued" }),
    running: after.sum("mismo_jobs", { state: "running" }),
    retrying: after.sum("mismo_jobs", { state: "retrying" }),
  };
}

const perMinute = (value) => (value === undefined ? undefined : value * 60);

const CHARTS = {
  "chart-audio": { title: "Audio separated", unit: "seconds of track a second, mean of a minute", format: format.decimal, series: [{ name: "audio", tone: "tone-a", value: (p) => p.audio }] },
  "chart-queue": {
    title: "Jobs", unit: "", format: format.count, least: 4,
    series: [
      { name: "running", tone: "tone-a", value: (p) => p.running },
      { name: "queued", tone: "tone-b", value: (p) => p.queued },
      { name: "retrying", tone: "tone-c", value: (p) => p.retrying },
    ],
  },
  "chart-ended": { title: "Jobs ended", unit: "in a minute", format: format.decimal, series: [{ name: "ended", tone: "tone-a", value: (p) => p.ended }] },
  "chart-cpu": { title: "Processors", unit: "busy, of the whole machine", format: format.percent, series: [{ name: "busy", tone: "tone-a", value: (p) => p.cpu }] },
  "chart-memory": { title: "Memory", unit: "of the server's process", format: format.bytes, binary: true, series: [{ name: "memory", tone: "tone-a", value: (p) => p.memory }] },
  "chart-bytes": { title: "Sent", unit: "audio and results, a second", format: format.bytes, least: 1024, binary: true, series: [{ name: "sent", tone: "tone-a", value: (p) => p.sent }] },
};

class StatusPage {
  constructor() {
    this.scrape = undefined;
    this.started = undefined;
    this.history = [];
    /** The scrapes of the last minute. */
    this.recent = [];
    this.reason = "";
    this.readings = 0;
    this.reading = false;
    this.timer = undefined;
    this.charts = Object.entries(CHARTS).map(([id, options]) => new Chart(at(id), { seconds: HISTORY_SECONDS, ...options }));
    this.failures = new FailureList(at("failures"), at("no-failures"), (failure) => this.replay(failure));
    document.addEventListener("visibilitychange", () => this.next(0));
    this.next(0);
  }

  /** Reads again after so many milliseconds; not while nobody sees the page. */
  next(delay) {
    clearTimeout(this.timer);
    if (document.hidden) return;
    this.timer = setTimeout(() => this.read(), delay);
  }

  async read() {
    if (this.reading) return;
    this.reading = true;
    try {
      const scrape = new Scrape(await fetchText("/metrics"), performance.now() / 1000);
      this.reason = await reasonOf(scrape);
      this.take(scrape);
      this.showState(true);
      if (this.readings++ % READINGS_A_JOBS_LIST === 0) await this.readJobs();
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      this.showState(false);
    } finally {
      this.reading = false;
      this.next(PERIOD_MS);
    }
  }

  /** Takes over a scrape. Counters of another process begin at 0, so its history begins anew. */
  take(scrape) {
    const started = scrape.sum("process_start_time_seconds");
    if (this.scrape && started === this.started) this.history.push(point(this.recent[0], this.scrape, scrape));
    else this.history = this.recent = [];
    this.recent = [...this.recent, scrape].filter((each) => scrape.at - each.at <= RATE_SECONDS);
    this.history = this.history.filter((each) => scrape.at - each.at <= HISTORY_SECONDS);
    this.scrape = scrape;
    this.started = started;
    for (const chart of this.charts) chart.show(this.history);
    this.showFigures(scrape);
    const version = scrape.all("mismo_build_info")[0]?.labels.version;
    text("as-of", `As of ${format.clock(new Date())}`);
    const up = started ? `, up ${format.duration(Date.now() / 1000 - started)}` : "";
    text("version", version ? `Version ${version}${up}` : "");
  }

  showState(reachable) {
    const { name, tone, text: sentence } = stateOf(this.scrape, reachable, this.reason);
    document.body.classList.toggle("stale", !reachable && Boolean(this.scrape));
    at("state").dataset.tone = tone;
    text("state-name", name);
    text("state-text", sentence);
  }

  showFigures(scrape) {
    const total = (name, labels) => scrape.sum(name, labels) ?? 0;
    const first = scrape.quantile("mismo_first_audio_seconds", 0.5);
    text("first-p50", format.duration(first));
    text("first-p95", first === undefined ? "no track separated yet" : `95 %: ${format.duration(scrape.quantile("mismo_first_audio_seconds", 0.95))}`);
    const audio = total("mismo_audio_seconds_total");
    const work = total("mismo_segment_seconds_sum");
    text("speed", work ? `${format.decimal(audio / work)} ×` : format.UNKNOWN);
    text("speed-more", work ? `real time; ${format.count(total("mismo_segment_seconds_count"))} segments` : "nothing separated yet");
    const [running, queued, retrying] = ["running", "queued", "retrying"].map((state) => total("mismo_jobs", { state }));
    text("running", format.count(running));
    text("running-more", `${format.count(queued)} queued, ${format.count(retrying)} retrying`);
    text("ended", format.count(total("mismo_jobs_ended_total")));
    text("ended-more", `${format.count(total("mismo_jobs_ended_total", { state: "failed" }))} failed, ${format.count(total("mismo_jobs_ended_total", { state: "cancelled" }))} cancelled`);
    text("streams", format.count(total("mismo_streams_open")));
    text("streams-more", `${format.count(total("mismo_uploads_open"))} uploads`);
    const used = total("mismo_disk_used_by_jobs_bytes");
    text("disk", format.bytes(scrape.sum("mismo_disk_free_bytes")));
    text("disk-more", `jobs use ${format.bytes(used)}`);
    this.showDevices(scrape);
    rows("queue", [
      ["Running", format.count(running)],
      ["Queued", format.count(queued)],
      ["Waiting to retry", format.count(retrying)],
      ["Room for", `${format.count(total("mismo_queue_capacity") - running - queued)} more`],
      ["Segments waiting", format.count(total("mismo_segments_waiting"))],
      ["Dead letters", format.count(total("mismo_dead_letters"))],
    ]);
    replace("reasons", scrape.all("mismo_job_failures_total").map(({ labels, value }) =>
      element("li", {}, element("code", {}, labels.reason), ` ${format.count(value)} ×`)));
    const budget = total("mismo_disk_budget_bytes");
    rows("storage", [
      ["Free on the disk", format.bytes(scrape.sum("mismo_disk_free_bytes"))],
      ["Used by finished jobs", format.bytes(used)],
      ["Budget of finished jobs", budget ? format.bytes(budget) : "no limit"],
      ["Memory of the server", format.bytes(scrape.sum("process_resident_memory_bytes"))],
      ["Memory of the machine", format.bytes(scrape.sum("mismo_host_memory_bytes"))],
      ["Processors", format.count(scrape.sum("mismo_host_cpu_cores"))],
    ]);
    const outcomes = ["delivered", "retried", "failed"].map((outcome) => total("mismo_callbacks_total", { outcome }));
    rows("callbacks", [
      ["Being sent", format.count(total("mismo_callbacks_sending"))],
      ["Delivered", format.count(outcomes[0])],
      ["Tried again", format.count(outcomes[1])],
      ["Failed for good", format.count(outcomes[2])],
    ]);
  }

  showDevices(scrape) {
    const devices = scrape.all("mismo_device_info").map(({ labels }) => {
      const used = scrape.sum("mismo_device_memory_bytes", { device: labels.device }) ?? 0;
      const all = scrape.sum("mismo_device_memory_total_bytes", { device: labels.device }) ?? 0;
      const name = element("span", { class: "name" }, element("strong", {}, labels.device), element("small", {}, labels.precision));
      const item = element("li", {}, name, element("small", {}, labels.description));
      if (all) {
        item.append(
          element("meter", { min: 0, max: all, value: used, high: all * 0.85, optimum: 0, "aria-label": `Memory of ${labels.device}` }),
          element("small", {}, `${format.bytes(used)} of ${format.bytes(all)}`));
      }
      return item;
    });
    replace("devices", devices);
    at("no-devices").hidden = devices.length > 0;
    const warm = new Set(scrape.all("mismo_warm_models").map(({ labels }) => labels.model));
    const used = scrape.all("mismo_segment_seconds_count").map(({ labels }) => labels.model);
    replace("models", [...new Set([...warm, ...used])].map((model) => {
      const seconds = scrape.sum("mismo_segment_seconds_sum", { model });
      const segments = scrape.sum("mismo_segment_seconds_count", { model });
      const audio = scrape.sum("mismo_audio_seconds_total", { model });
      return element("tr", {},
        element("th", { scope: "row" }, model),
        element("td", {}, warm.has(model) ? "yes" : "no"),
        element("td", { class: "number" }, segments ? format.duration(seconds / segments) : format.UNKNOWN),
        element("td", { class: "number" }, seconds ? `${format.decimal(audio / seconds)} ×` : format.UNKNOWN));
    }));
  }

  async readJobs() {
    const pages = await Promise.all([
      fetchJobs(`/jobs?status=failed&page_size=10`),
      fetchJobs(`/jobs?page_size=${NEWEST_JOBS}`),
    ]);
    if (pages.every(Boolean)) this.failures.show(failuresOf(pages.flat()));
  }

  /** Replays a job; returns what to tell the reader. */
  async replay({ jobId, runId }) {
    try {
      const response = await fetch(`/jobs/${encodeURIComponent(jobId)}/replay?expected_run_id=${encodeURIComponent(runId)}`,
        { method: "POST", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (response.ok) return "It runs again.";
      return (await response.json()).error.message;
    } catch {
      return "The server did not answer; try again.";
    }
  }
}

class Unreachable extends Error {}

async function fetchText(path) {
  try {
    const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (response.ok) return await response.text();
  } catch {
    // A refused connection, a cut one and a silent server are one to the reader.
  }
  throw new Unreachable(path);
}

/** The jobs of a page, undefined while the server is too busy to say. */
async function fetchJobs(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => undefined);
  return response?.ok ? (await response.json()).jobs : undefined;
}

/** Why the server does not separate or has no model, in its own words; "" if it does. */
async function reasonOf(scrape) {
  if (scrape.sum("mismo_separating") !== 0 && scrape.sum("mismo_model_warm")) return "";
  const reasons = JSON.parse(await fetchText("/status.json"));
  if (reasons.not_separating) return `Nothing can be separated until the server is restarted; jobs wait for that: ${reasons.not_separating}`;
  return reasons.model_not_loaded && `The model is not loaded: ${reasons.model_not_loaded}. Loading is tried again.`;
}

/** Replaces the children of an element, unless they say the same already: then the screen reader's place stays. */
function replace(id, children) {
  const node = at(id);
  const same = children.length === node.children.length && children.every((child, index) => child.isEqualNode(node.children[index]));
  if (!same) node.replaceChildren(...children);
}

function rows(id, pairs) {
  replace(id, pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

new StatusPage();
