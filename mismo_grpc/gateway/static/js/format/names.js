/** Names of tracks and stems. */

const MOST_TITLE_CHARACTERS = 120;

/**
 * A file's name as the title of its job: one line, without the extension.
 * @param {string} filename
 */
export function titleOf(filename) {
  const base = filename.split(/[\\/]/).pop() ?? "";
  // Control characters, and those that turn the direction of the text around, could make a title look like another.
  const clean = base.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, " ");
  const bare = clean.replace(/\.[A-Za-z0-9]{1,5}$/, "").replace(/_/g, " ").replace(/\s+/g, " ").trim();
  return [...bare].slice(0, MOST_TITLE_CHARACTERS).join("") || "Untitled";
}

/**
 * A stem's name for people: "no_vocals" is "No vocals".
 * @param {string} stem
 */
export function stemLabel(stem) {
  const words = stem.replace(/_/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * What has the title of its job, or else where the track came from.
 * @param {{labels?: Record<string, string>, source?: {location?: {case?: string, value?: string}}, jobId: string}} job
 */
export function jobTitle(job) {
  const label = job.labels?.title;
  if (label) return label;
  const location = job.source?.location;
  if (location?.value && location.case !== "uploadId") return titleOf(location.value);
  return `Job ${job.jobId.slice(0, 12)}`;
}
