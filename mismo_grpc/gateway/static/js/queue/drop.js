/** Files that are dropped anywhere on the page, chosen with the button, or pasted. */

import { byId } from "../ui/dom.js";

/** @typedef {{files: File[], folders: string[]}} Dropped */

/**
 * Calls back with files, from a gesture of the person.
 * @param {(dropped: Dropped) => void} take
 */
export function startDrop(take) {
  const curtain = byId("drop-curtain");
  let depth = 0;
  const show = (/** @type {boolean} */ on) => {
    depth = on ? depth : 0;
    curtain.hidden = !on;
  };
  window.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    show(true);
  });
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
  });
  window.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) show(false);
  });
  // During a drag no pointer moves: the drag has ended over an element that was taken out, which tells nobody.
  window.addEventListener("pointermove", () => {
    if (!curtain.hidden) show(false);
  });
  window.addEventListener("drop", (event) => {
    show(false);
    if (!hasFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    take(sorted(event.dataTransfer));
  });
  const input = /** @type {HTMLInputElement} */ (byId("file-input"));
  input.addEventListener("change", () => {
    take({ files: [...(input.files ?? [])], folders: [] });
    // The same file can be chosen again.
    input.value = "";
  });
  window.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take({ files, folders: [] });
  });
}

/** Opens the system's dialog for files. */
export function chooseFiles() {
  /** @type {HTMLInputElement} */ (byId("file-input")).click();
}

/** @param {DragEvent} event */
function hasFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

/**
 * Separates folders from files: a folder looks like an odd file otherwise.
 * @param {DataTransfer} transfer
 * @returns {Dropped}
 */
function sorted(transfer) {
  /** @type {Dropped} */
  const dropped = { files: [], folders: [] };
  const items = [...transfer.items].filter((item) => item.kind === "file");
  for (const item of items) {
    const entry = item.webkitGetAsEntry?.();
    const file = item.getAsFile();
    if (entry?.isDirectory) dropped.folders.push(entry.name);
    else if (file) dropped.files.push(file);
  }
  if (!items.length) dropped.files.push(...transfer.files);
  return dropped;
}
