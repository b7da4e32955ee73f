/** The command line and the environment, checked before anything is sent. */

import { parseArgs } from "node:util";

import { UsageFailure } from "./failure.js";

export const STEMS = ["vocals", "drums", "bass", "guitar", "piano", "synth", "other"];

export const HELP = `Usage: node src/main.js [options] TRACK

Uploads a track to a container of Azure Blob Storage, has it separated and analysed (POST /analyze), waits for the
callback, reads annotation.jams and the stems from the container, has new stems generated (POST /generate), waits for
that callback, and reads the generated stems.

TRACK is an audio file, such as song.mp3.

Addresses:
  --analysis-url URL     the analysis worker; ANALYSIS_URL; default http://localhost:8001
  --generation-url URL   the generation worker; GENERATION_URL; default http://localhost:8002
  --callback-url URL     the address under which the workers reach this program, such as http://api:8080;
                         CALLBACK_URL; default: the address from which this program reaches the worker
  --callback-port PORT   the port for callbacks; CALLBACK_PORT; default 0: any free one

Storage:
  AZURE_STORAGE_CONNECTION_STRING  required, in the environment only: it holds a key
  --container NAME       the container, which must exist (npm run create-container makes it); BLOB_CONTAINER_NAME;
                         default audio-files

What is generated:
  --stems NAMES          any of ${STEMS.join(", ")}; default guitar,bass,drums
  --bpm NUMBER           beats a minute; default 120
  --duration SECONDS     default 10
  --style NAME           default rock
  --chords SYMBOLS       one for each bar, such as Am,F,C,G; default: the worker chooses
  --seed NUMBER          the same request with the same seed gives the same audio; default: the worker chooses

Others:
  --out FOLDER           also stores what was read: FOLDER/stems, FOLDER/analysis, FOLDER/generated
  --timeout SECONDS      the longest wait for each callback, and for a worker to become healthy; default 900
  --help                 this text

Exit status: 0 all was read and is intact, 1 something failed (the last line says what), 2 wrong usage, 130 Ctrl-C.

Example, with the services of compose.yaml:
  docker compose run --rm example
`;

/**
 * @typedef {object} Options
 * @property {string} track
 * @property {string} analysisUrl without a slash at its end, as the other addresses
 * @property {string} generationUrl
 * @property {string | undefined} callbackUrl
 * @property {number} callbackPort
 * @property {string} container
 * @property {string} connectionString
 * @property {string[]} stems
 * @property {object} parameters of the generation, with null for what is not set
 * @property {string | undefined} out
 * @property {number} timeoutMs
 */

const DEFINED = {
  "analysis-url": { type: "string" },
  "generation-url": { type: "string" },
  "callback-url": { type: "string" },
  "callback-port": { type: "string" },
  container: { type: "string" },
  stems: { type: "string" },
  bpm: { type: "string" },
  duration: { type: "string" },
  style: { type: "string" },
  chords: { type: "string" },
  seed: { type: "string" },
  out: { type: "string" },
  timeout: { type: "string" },
  help: { type: "boolean" },
};

/**
 * Throws UsageFailure. "help" stands for a call with --help.
 *
 * @param {string[]} words
 * @param {Record<string, string | undefined>} environment
 * @returns {Options | "help"}
 */
export function readOptions(words, environment) {
  let parsed;
  try {
    parsed = parseArgs({ args: words, options: DEFINED, allowPositionals: true });
  } catch (error) {
    throw new UsageFailure(`${error.message}; --help lists the options`);
  }
  const { values: given, positionals } = parsed;
  if (given.help) return "help";
  if (positionals.length !== 1) throw new UsageFailure("give one TRACK, such as song.mp3; --help explains the rest");
  return {
    track: positionals[0],
    analysisUrl: address("--analysis-url", given["analysis-url"] ?? (environment.ANALYSIS_URL || "http://localhost:8001")),
    generationUrl: address(
      "--generation-url",
      given["generation-url"] ?? (environment.GENERATION_URL || "http://localhost:8002"),
    ),
    callbackUrl: optional(given["callback-url"] ?? environment.CALLBACK_URL, (url) => address("--callback-url", url)),
    callbackPort: number("--callback-port", given["callback-port"] ?? (environment.CALLBACK_PORT || "0"), 0, 65535, true),
    ...readStorage(environment, given.container),
    stems: stemNames(given.stems ?? "guitar,bass,drums"),
    parameters: {
      target_bpm: number("--bpm", given.bpm ?? "120", 0),
      duration_seconds: number("--duration", given.duration ?? "10", 0),
      style: given.style ?? "rock",
      chord_progression: optional(given.chords, (text) => text.split(",").map((chord) => chord.trim())) ?? null,
      prompt: null,
      temperature: null,
      random_seed: optional(given.seed, (text) => number("--seed", text, 0, Number.MAX_SAFE_INTEGER, true)) ?? null,
    },
    out: given.out,
    timeoutMs: 1000 * number("--timeout", given.timeout ?? "900", 0.001, 2_000_000),
  };
}

/**
 * Which container of which account; throws UsageFailure.
 *
 * @param {Record<string, string | undefined>} environment
 * @param {string} [container] instead of the environment's
 */
export function readStorage(environment, container) {
  const connectionString = environment.AZURE_STORAGE_CONNECTION_STRING;
  if (!connectionString) {
    throw new UsageFailure("set AZURE_STORAGE_CONNECTION_STRING to the connection string of the storage account");
  }
  return { connectionString, container: container ?? (environment.BLOB_CONTAINER_NAME || "audio-files") };
}

/** @template T @param {string | undefined} text @param {(text: string) => T} read @returns {T | undefined} */
function optional(text, read) {
  return text ? read(text) : undefined;
}

function address(option, text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new UsageFailure(`${option}: ${JSON.stringify(text)} is no address; give one like http://localhost:8001`);
  }
  return text.replace(/\/+$/, "");
}

function number(option, text, least, most = Number.MAX_VALUE, whole = false) {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least && value <= most) || (whole && !Number.isSafeInteger(value))) {
    const range = most === Number.MAX_VALUE ? `at least ${least}` : `from ${least} to ${most}`;
    throw new UsageFailure(`${option}: ${JSON.stringify(text)} is no ${whole ? "whole " : ""}number ${range}`);
  }
  return value;
}

function stemNames(text) {
  const names = text.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!STEMS.includes(name)) {
      throw new UsageFailure(`--stems: there is no ${JSON.stringify(name)}; choose from ${STEMS.join(", ")}`);
    }
  }
  if (new Set(names).size !== names.length) throw new UsageFailure("--stems: a name is given twice");
  return names;
}
