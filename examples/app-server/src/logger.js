/** Log lines on standard output: time, level, text. */

/** @param {(line: string) => void} write */
export function logger(write = console.log) {
  const at = (level) => (text) => write(`${new Date().toISOString()} ${level}: ${text}`);
  return { info: at("info"), warn: at("warn"), error: at("error") };
}
