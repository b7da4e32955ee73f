/** The command line: see `node src/main.js --help`. */

import { Failure, UsageFailure } from "./failure.js";
import { Flow } from "./flow.js";
import { HELP, readOptions } from "./options.js";

const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => interrupted.abort(new Failure("interrupted")));

try {
  const options = readOptions(process.argv.slice(2), process.env);
  if (options === "help") console.log(HELP);
  else await new Flow(options, { signal: interrupted.signal, print: console.log }).run();
} catch (error) {
  const stopped = interrupted.signal.aborted;
  if (!stopped && !(error instanceof Failure)) throw error;
  console.error(stopped ? "interrupted" : `error: ${error.message}`);
  process.exitCode = stopped ? 130 : error instanceof UsageFailure ? 2 : 1;
}
