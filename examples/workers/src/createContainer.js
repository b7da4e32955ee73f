/** Makes the container of BLOB_CONTAINER_NAME unless it is there: an API does so before its first upload. */

import { Failure } from "./failure.js";
import { readStorage } from "./options.js";
import { Storage } from "./storage.js";

try {
  const where = readStorage(process.env);
  const made = await new Storage(where).create(AbortSignal.timeout(60_000));
  console.log(`container ${where.container}: ${made ? "created" : "was there"}`);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
