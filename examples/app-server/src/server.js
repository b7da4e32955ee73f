/** `npm start`: the app server until SIGTERM or Ctrl-C. */

import { existsSync } from "node:fs";

import { AppServer } from "./appServer.js";
import { readConfig } from "./config.js";
import { logger } from "./logger.js";

// What is in the environment already wins.
if (existsSync(".env")) process.loadEnvFile(".env");

const log = logger();
let server;
try {
  server = await AppServer.create(readConfig(), log);
  await server.start();
} catch (error) {
  log.error(error.message);
  await server?.stop();
  process.exit(1);
}

let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, async () => {
    if (stopping) return;
    stopping = true;
    log.info(`${signal} received, starting graceful shutdown...`);
    await server.stop();
    process.exit(0);
  });
}
