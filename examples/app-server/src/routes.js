/** The HTTP API under /api. */

import express from "express";

import { PRIORITIES } from "./analysisQueue.service.js";
import { errorView } from "./audioEngine.service.js";

/** Four stems of ten minutes in base64; Node's strings end at 512 MiB. */
const CALLBACK_LIMIT = "500mb";

/**
 * @param {object} parts
 * @param {import("./analysisServer.service.js").AnalysisServer} parts.server
 * @param {import("./analysisQueue.service.js").AnalysisQueue} parts.queue
 * @param {import("./analysisCallback.service.js").AnalysisCallbacks} parts.callbacks
 * @param {import("./library.service.js").Library} parts.library
 * @param {import("./jobTable.service.js").JobTable | undefined} parts.table in mode grpc
 */
export function routes({ server, queue, callbacks, library, table }) {
  const router = express.Router();
  router.use("/analysis", analysisRoutes({ server, queue, callbacks, table }));

  router.get("/tracks", async (_, response) => {
    await library.scan();
    response.json({ tracks: library.tracks });
  });

  router.post("/tracks/:id/analyze", express.json(), (request, response) => {
    const track = library.track(request.params.id);
    if (track === undefined) return refuse(response, 404, "NOT_FOUND", "there is no such track");
    const priority = request.body?.priority ?? "normal";
    if (!PRIORITIES.includes(priority)) {
      return refuse(response, 422, "INVALID_FIELD", `priority must be one of ${PRIORITIES.join(", ")}`);
    }
    response.status(202).json(jobView(queue.request(track, priority)));
  });

  router.get("/library/directories", (_, response) => {
    response.json({ directories: library.directories });
  });

  router.post("/library/directories", express.json(), async (request, response) => {
    const path = request.body?.path;
    if (typeof path !== "string") return refuse(response, 422, "INVALID_FIELD", "path is missing");
    if (await library.add(path)) await server.allowedPathsChanged();
    response.status(201).json({ directories: library.directories });
  });

  router.delete("/library/directories", express.json(), async (request, response) => {
    if (await library.remove(request.body?.path)) await server.allowedPathsChanged();
    response.json({ directories: library.directories });
  });
  return router;
}

function analysisRoutes({ server, queue, callbacks, table }) {
  const router = express.Router();

  router.post(
    "/callback",
    (request, _, next) => {
      callbacks.checkHeaders(request.headers);
      next();
    },
    express.json({
      limit: CALLBACK_LIMIT,
      // The signature is over the bytes, so it is checked before they become JSON, and nothing is unpacked.
      inflate: false,
      verify: (request, _, body) => callbacks.checkSignature(request.headers, body),
    }),
    async (request, response) => {
      response.json({ status: await callbacks.receive(request.headers, request.body) });
    },
  );

  router.get("/status", async (_, response) => {
    response.json(await server.status());
  });

  router.get("/health", async (_, response) => {
    if (await server.isHealthy()) response.json({ status: "healthy", message: "Analysis server is responding" });
    else response.status(503).json({ status: "unhealthy", message: "Analysis server is not responding" });
  });

  router.post("/start", (_, response) => started(response, "start", "started", server.start(), server));
  router.post("/restart", (_, response) => started(response, "restart", "restarted", server.restart(), server));

  router.post("/stop", async (_, response) => {
    await server.stop();
    response.json({ message: "Analysis server stopped successfully" });
  });

  router.get("/queue", (_, response) => {
    response.json({ jobs: queue.jobs.map(jobView) });
  });

  router.get("/server-jobs", (_, response) => {
    if (table === undefined) return refuse(response, 404, "NOT_FOUND", "only ANALYSIS_MODE=grpc follows the jobs");
    response.json({ jobs: table.jobs });
  });

  router.get("/jobs/:id", (request, response) => {
    const job = queue.job(request.params.id);
    if (job === undefined) return refuse(response, 404, "NOT_FOUND", "there is no such job");
    response.json(jobView(job));
  });
  return router;
}

async function started(response, verb, done, starting, server) {
  try {
    await starting;
  } catch (error) {
    response.status(500).json({ error: `Failed to ${verb} analysis server`, message: error.message });
    return;
  }
  response.json({ message: `Analysis server ${done} successfully`, status: await server.status() });
}

function jobView({ id, track, trackHash = null, priority, status, attempts, progress, createdAt, stems, features, error }) {
  const own = { id, trackId: track.id, trackHash, priority, status, attempts, progress, createdAt, stems, features };
  return { ...own, error: error && errorView(error) };
}

function coded(error) {
  const { code, message } = errorView(error);
  return code === "INTERNAL" ? { message } : { code, message };
}

function refuse(response, status, code, message) {
  response.status(status).json({ error: { code, message } });
}

/** Every error as JSON; express calls it. @type {express.ErrorRequestHandler} */
export function answerErrors(log) {
  return (error, request, response, next) => {
    if (response.headersSent) return next(error);
    const status = error.status ?? (error instanceof RangeError || error.code === "ENOENT" ? 422 : 500);
    if (status >= 500) log.error(`${request.method} ${request.path}: ${error.stack}`);
    // express's own errors have no code that is meant for clients.
    response.status(status).json({ error: { code: status < 500 ? "INVALID_REQUEST" : "INTERNAL", ...coded(error) } });
  };
}
