/** A real Azurite in a process of its own, on a free port, with its blobs in memory. */

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { BlobServiceClient } from "@azure/storage-blob";

const PROGRAM = createRequire(import.meta.url).resolve("azurite/dist/src/blob/main.js");
const ARGUMENTS = ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"];
/** Azurite's account and key: they are public, and the same everywhere. */
const ACCOUNT = "devstoreaccount1";
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/** Starts it; `stop` ends it. @returns {Promise<{ storage: string, stop: () => void }>} storage: a connection string */
export async function startAzurite() {
  const child = spawn(process.execPath, [PROGRAM, ...ARGUMENTS], { stdio: ["ignore", "pipe", "inherit"] });
  const stop = () => child.kill("SIGKILL");
  process.once("exit", stop);
  const lines = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    const [, url] = /successfully listens on (\S+)/.exec(line) ?? [];
    if (url !== undefined) {
      child.stdout.resume();
      return { storage: connectionString(url), stop };
    }
  }
  throw new Error(`Azurite did not start: ${lines.join("\n")}`);
}

/** The connection string of an Azurite at `url`. */
export function connectionString(url, key = KEY) {
  const protocol = new URL(url).protocol.slice(0, -1);
  return (
    `DefaultEndpointsProtocol=${protocol};AccountName=${ACCOUNT};AccountKey=${key};` + `BlobEndpoint=${url}/${ACCOUNT};`
  );
}

/** A container of the storage, for a test's own look. */
export function containerOf(connection, name) {
  return BlobServiceClient.fromConnectionString(connection).getContainerClient(name);
}
