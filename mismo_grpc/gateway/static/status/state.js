/** The state of the server in words: a name, a tone of the stylesheet, and a sentence that says what to do. */

/** @param {import("./prometheus.js").Scrape | undefined} scrape The newest one. @param {boolean} reachable Whether the last request was answered. @param {string} reason Why the server does not separate or has no model, if it said so. */
export function stateOf(scrape, reachable, reason) {
  if (!reachable) {
    return {
      name: "Server gone", tone: "bad",
      text: "The server does not answer: it has stopped, or the network is down. This page keeps trying; the figures are the last ones received.",
    };
  }
  if (!scrape) return { name: "Connecting", tone: "idle", text: "Waiting for the first figures." };
  if (scrape.sum("mismo_draining")) {
    return { name: "Draining", tone: "warn", text: "The server is shutting down: it finishes what it can and refuses new jobs. Jobs continue after the restart." };
  }
  if (scrape.sum("mismo_separating") === 0) {
    return { name: "Not separating", tone: "bad", text: reason || "Nothing can be separated until the server is restarted; its log says why. Jobs wait." };
  }
  if (!scrape.sum("mismo_model_warm")) {
    return { name: "Model not loaded", tone: "warn", text: reason || "The default model is being loaded. Jobs are accepted and wait for it." };
  }
  const [running = 0, queued = 0] = [scrape.sum("mismo_jobs", { state: "running" }), scrape.sum("mismo_jobs", { state: "queued" })];
  if (running + queued >= (scrape.sum("mismo_queue_capacity") ?? Infinity)) {
    return { name: "Queue full", tone: "warn", text: "The server works, and refuses new jobs until one of the waiting ones has ended." };
  }
  if (running) return { name: "Working", tone: "good", text: "Jobs are running." };
  return { name: "Ready", tone: "good", text: "No job is running. New jobs start at once." };
}
