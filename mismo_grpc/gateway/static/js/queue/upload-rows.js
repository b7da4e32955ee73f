/** The uploads in the list, above the jobs. */

import { fileSize } from "../format/size.js";
import { prioritySelect } from "../jobs/job-row.js";
import { explained } from "../server/remedies.js";
import { byId, h, iconButton, setAttribute, setText } from "../ui/dom.js";

/** @typedef {import("./upload-queue.js").Upload} Upload */

/**
 * Shows a queue and keeps what is shown up to date.
 * @param {import("./upload-queue.js").UploadQueue} queue
 * @param {() => void} changed
 */
export function showUploads(queue, changed) {
  /** @type {Map<string, UploadRow>} */
  const rows = new Map();
  const list = byId("uploads");
  queue.addEventListener("change", () => {
    const known = new Set(queue.uploads.map((upload) => upload.id));
    for (const [id, row] of rows) {
      if (known.has(id)) continue;
      row.element.remove();
      rows.delete(id);
    }
    for (const upload of queue.uploads) {
      let row = rows.get(upload.id);
      if (!row) {
        row = new UploadRow(upload, queue);
        rows.set(upload.id, row);
        list.append(row.element);
      }
      row.show();
    }
    list.hidden = rows.size === 0;
    changed();
  });
}

class UploadRow {
  /**
   * @param {Upload} upload
   * @param {import("./upload-queue.js").UploadQueue} queue
   */
  constructor(upload, queue) {
    this.upload = upload;
    const { title } = upload;
    this.detail = h("span", { class: "row-detail", "data-testid": "upload-detail" });
    this.progress = h("progress", { class: "bar thin", max: 1, value: 0, "aria-label": `Upload of ${title}` });
    this.priority = prioritySelect("upload-priority", (priority) => queue.prioritise(upload, priority));
    this.priority.setAttribute("aria-label", `Priority of ${title}`);
    this.retry = iconButton("replay", `Try again: ${title}`, { "data-testid": "upload-retry", on: { click: () => queue.retry(upload) } });
    this.element = h("li", { class: "row", "data-testid": "upload" },
      h("div", { class: "row-link" }, h("span", { class: "row-mark", "aria-hidden": "true" }),
        h("span", { class: "row-text" }, h("span", { class: "row-title", title }, title), this.detail)),
      h("div", { class: "row-actions" }, this.priority, this.retry,
        iconButton("close", `Remove ${title}`, { "data-testid": "upload-remove", on: { click: () => queue.remove(upload) } })),
      this.progress);
  }

  show() {
    const { upload } = this;
    setText(this.detail, detailOf(upload));
    setAttribute(this.element, "data-state", upload.state);
    this.priority.value = String(upload.priority);
    this.priority.hidden = upload.state === "failed";
    this.retry.hidden = upload.state !== "failed";
    this.progress.hidden = upload.state === "failed" || upload.state === "waiting";
    this.progress.value = upload.file.size ? upload.sent / upload.file.size : 0;
  }
}

/** @param {Upload} upload */
function detailOf({ state, sent, file, error }) {
  switch (state) {
    case "waiting":
      return `Waits to be uploaded, ${fileSize(file.size)}`;
    case "sending":
      return `Uploading: ${fileSize(sent)} of ${fileSize(file.size)}`;
    case "offline":
      if (error && error.reason !== "NETWORK") return `The upload goes on by itself once the server takes it. ${explained(error)}`;
      return "Waiting for the network; the upload goes on by itself";
    case "submitting":
      return "Uploaded; asking for its turn";
    default:
      return error ? explained(error) : "Failed";
  }
}
