/** Choices that this browser remembers. Without storage (private windows, full disk) they last as long as the page. */

const PREFIX = "mismo.";
/** @type {Map<string, string>} */
const fallback = new Map();

/**
 * A remembered value; the default if there is none or it is of another type.
 * @template Value
 * @param {string} name
 * @param {Value} byDefault
 * @returns {Value}
 */
export function recall(name, byDefault) {
  try {
    const text = storedText(PREFIX + name);
    if (text === null) return byDefault;
    const value = JSON.parse(text);
    return kindOf(value) === kindOf(byDefault) ? value : byDefault;
  } catch {
    return byDefault;
  }
}

/**
 * Remembers a value.
 * @param {string} name
 * @param {unknown} value
 */
export function remember(name, value) {
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(PREFIX + name, text);
  } catch {
    fallback.set(PREFIX + name, text);
  }
}

/** @param {string} key */
function storedText(key) {
  try {
    return localStorage.getItem(key) ?? fallback.get(key) ?? null;
  } catch {
    return fallback.get(key) ?? null;
  }
}

/** A name of this browser, made once: its own jobs have it as a label. */
export function browserId() {
  let id = recall("browser", "");
  if (!/^[0-9a-f-]{36}$/.test(id)) {
    id = uuid();
    remember("browser", id);
  }
  return id;
}

/** A random UUID; `crypto.randomUUID` is missing on pages over plain HTTP. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** @param {unknown} value */
function kindOf(value) {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}
