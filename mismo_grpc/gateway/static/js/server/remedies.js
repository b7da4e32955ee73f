/** What a person can do about each error, by its reason; the server's message says what happened. */

/** @type {Record<string, string>} */
const REMEDIES = {
  NETWORK: "Check that the server runs and that this device is on its network. The page tries again by itself.",
  WEBSOCKET_REFUSED: "The page tries again by itself. If this stays, close other tabs of this server, or let the proxy pass WebSockets.",
  AUDIO_UNREADABLE: "Choose another file, or export the track again.",
  EMPTY_AUDIO: "Choose another file: this one has no sound in it.",
  CORRUPT_AUDIO: "Export or download the track again, then drop it here.",
  NO_AUDIO_STREAM: "Choose a file with sound: this one has only pictures or data.",
  TRACK_TOO_LONG: "Cut the track into shorter parts.",
  UPLOAD_TOO_LARGE: "Convert the file to FLAC or MP3, or ask whoever runs the server for a higher limit.",
  UPLOAD_CHECKSUM_MISMATCH: "Drop the file again: it changed, or was damaged on the way.",
  MODEL_UNAVAILABLE: "Choose another model.",
  QUEUE_FULL: "Wait until a track is done, then try again.",
  OVERLOADED: "Try again in a moment.",
  TOO_MANY_STREAMS: "Close a tab or another player, then try again.",
  DISK_FULL: "Delete jobs that you do not need any more, then try again.",
  OUT_OF_MEMORY: "Try again when other jobs are done, or choose a smaller model.",
  SERVER_DRAINING: "The server is restarting. The page goes on by itself when it is back.",
  JOB_NOT_FOUND: "It was deleted or has expired. Drop the track again to separate it anew.",
  JOB_NOT_REPLAYABLE: "Drop the track again.",
  RUN_REPLACED: "Load the newest run of this job.",
  HOST_FORBIDDEN: "Open the page at an address that the server knows (MISMO_HTTP_ALLOWED_HOSTS).",
  SEPARATION_FAILED: "Try again; if it fails again, choose another model.",
  MODEL_LOAD_FAILED: "Choose another model, and tell whoever runs the server.",
  PLAYHEAD_BEYOND_END: "Choose a position inside the track.",
};

/**
 * One sentence on what to do.
 * @param {{reason?: string, retryable?: boolean}} error
 */
export function remedyOf(error) {
  return REMEDIES[error.reason ?? ""] ?? (error.retryable ? "Try again in a moment." : "");
}

/**
 * What happened and what to do, as one text.
 * @param {{reason?: string, message: string, retryable?: boolean}} error
 */
export function explained(error) {
  const message = sentence(error.message || "The server did not say what went wrong");
  return `${message} ${remedyOf(error)}`.trim();
}

/** A text with a capital and a full stop. @param {string} text */
export function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
