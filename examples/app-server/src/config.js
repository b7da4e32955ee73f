/** All settings, from the environment. README.md and .env.example explain them. */

import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const MODES = ["path", "callback", "poll", "grpc"];

const PACKAGE = resolve(fileURLToPath(new URL("..", import.meta.url)));

/** The project that this example is part of, and starts by default. */
const PROJECT = resolve(fileURLToPath(new URL("../../..", import.meta.url)));

/** @typedef {ReturnType<typeof readConfig>} Config */

/** Throws a RangeError that names the variable at fault. */
export function readConfig(env = process.env) {
  const remote = flag(env, "ANALYSIS_SERVER_REMOTE", false);
  const mode = env.ANALYSIS_MODE || (remote ? "callback" : "path");
  if (!MODES.includes(mode)) throw new RangeError(`ANALYSIS_MODE must be one of ${MODES.join(", ")}`);
  if (mode === "path" && remote) throw new RangeError("ANALYSIS_MODE=path needs both servers on one machine");
  const host = env.HOST || "127.0.0.1";
  const pythonPort = whole(env, "PYTHON_SERVER_PORT", 8000);
  const pythonUrl = env.PYTHON_SERVER_URL || `http://127.0.0.1:${pythonPort}`;
  const grpcPort = whole(env, "PYTHON_SERVER_GRPC_PORT", 50051);
  const appDir = resolve(env.PYTHON_SERVER_APP_DIR || PROJECT);
  return {
    host,
    port: whole(env, "PORT", 3000),
    publicUrl: env.PUBLIC_URL || "",
    libraryDirs: directories(env),
    mode,
    remote,
    dataDir: resolve(env.DATA_DIR || join(PACKAGE, "data")),
    instanceName: env.INSTANCE_NAME || "app-server",
    callbackSecret: env.CALLBACK_SECRET || "",
    basicFeatures: flag(env, "ANALYSIS_BASIC_FEATURES", false),
    stemsKeepMs: whole(env, "STEMS_KEEP_MS", 60_000),
    grpcAddress: `${new URL(pythonUrl).hostname}:${grpcPort}`,
    python: {
      url: pythonUrl,
      port: pythonPort,
      grpcPort,
      // A server on another machine is not ours to start.
      autoStart: flag(env, "PYTHON_SERVER_AUTO_START", !remote),
      startupTimeoutMs: whole(env, "PYTHON_SERVER_STARTUP_TIMEOUT_MS", 60_000),
      restartDelayMs: whole(env, "PYTHON_SERVER_RESTART_DELAY_MS", 1000),
      appDir,
      pythonPath: env.PYTHON_SERVER_PYTHON_PATH || join(appDir, ".venv/bin/python"),
    },
    queue: {
      maxConcurrent: whole(env, "MAX_CONCURRENT_ANALYSIS", 2, 1),
      maxRetries: whole(env, "ANALYSIS_MAX_RETRIES", 3),
      timeoutMs: whole(env, "ANALYSIS_TIMEOUT_MS", 300_000, 1),
      retryDelayMs: whole(env, "ANALYSIS_RETRY_DELAY_MS", 1000),
    },
    pollIntervalMs: whole(env, "ANALYSIS_POLL_INTERVAL_MS", 1000, 1),
    callbackPatienceMs: whole(env, "ANALYSIS_CALLBACK_PATIENCE_MS", 10_000),
  };
}

function whole(env, name, fallback, least = 0) {
  if (!env[name]) return fallback;
  const value = Number(env[name]);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new RangeError(`${name} must be a whole number of at least ${least}`);
  }
  return value;
}

function flag(env, name, fallback) {
  if (!env[name]) return fallback;
  if (!["true", "false"].includes(env[name])) throw new RangeError(`${name} must be true or false`);
  return env[name] === "true";
}

function directories(env) {
  if (!env.LIBRARY_DIRS) return [];
  let dirs;
  try {
    dirs = JSON.parse(env.LIBRARY_DIRS);
  } catch {
    dirs = undefined;
  }
  if (!Array.isArray(dirs) || !dirs.every((dir) => typeof dir === "string")) {
    throw new RangeError('LIBRARY_DIRS must be a JSON list such as ["/music"]');
  }
  return dirs.map((dir) => resolve(dir));
}
