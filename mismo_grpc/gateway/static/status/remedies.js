/** What an operator does about a failure, by its reason (docs/errors.md); the message says what happened. */

export const REMEDIES = {
  DISK_FULL: "Delete finished jobs or free space on the server's disk, then replay the job.",
  OUT_OF_MEMORY: "Close other programs on the device, choose a smaller model or a smaller MISMO_MAX_BATCH, then replay the job.",
  AUDIO_UNREADABLE: "Export the track again as WAV, FLAC or MP3 and submit it anew.",
  UNSUPPORTED_AUDIO: "Convert the track to WAV, FLAC or MP3 and submit it anew.",
  CORRUPT_AUDIO: "The file is damaged: get another copy of the track and submit that.",
  EMPTY_AUDIO: "The file has no audio: check the export and submit the track anew.",
  NO_AUDIO_STREAM: "The file has no audio, such as a picture or a silent video: submit another one.",
  TRACK_TOO_LONG: "Cut the track, or have the server's limit raised (docs/settings.md).",
  SOURCE_NOT_FOUND: "The file was moved or deleted: submit it from where it is now.",
  SOURCE_PATH_FORBIDDEN: "Put the track into a folder of MISMO_ALLOWED_PATH_PREFIXES, or add its folder.",
  MODEL_UNAVAILABLE: "Install the model's weights, or choose another model.",
  MODEL_LOAD_FAILED: "The model's files are damaged or do not fit this version: install them anew. The log has the details.",
  SEPARATION_FAILED: "Replay the job. If it fails again, the log has the cause.",
  ANALYSIS_FAILED: "The stems are not affected. The log has the cause.",
  ANALYSIS_TIMEOUT: "The stems are not affected. The machine may be too busy: replay the job later.",
  ANALYSIS_CRASHED: "The stems are not affected. Replay the job; if it crashes again, the log has the cause.",
  BLOB_STORE_UNAVAILABLE: "Replay the job once the blob container can be reached again.",
  BLOB_ACCESS_DENIED: "Check the server's access to the blob container, then replay the job.",
  BLOB_CONTAINER_NOT_FOUND: "Create the blob container or correct its name in the settings, then replay the job.",
  BLOB_NOT_FOUND: "The track is not in the blob container: upload it there and submit it anew.",
  BLOB_CHANGED: "The track changed while it was read: replay the job.",
  STORE_FAILED: "The job store cannot be written: check the disk of the jobs folder.",
  INTERNAL: "This is a bug in the server: report it with the lines of the log about this job.",
};

/** What to do about a failure of a job; `error` is that of the job or the stage, `replayable` says whether it can be replayed. */
export function remedyFor(error, replayable) {
  const known = REMEDIES[error.code];
  if (known) return known;
  return replayable ? "Replay the job once the cause is gone." : "Correct what the message names and submit the track anew.";
}
