/** Takes files in: checks them, puts them into the queue, tells what was refused and why. */

import { fileSize } from "../format/size.js";
import { counted } from "../format/time.js";
import { refusalOf } from "../server/offer.js";
import { announce } from "../ui/announce.js";
import { notify } from "../ui/notices.js";

/**
 * @param {import("../queue/drop.js").Dropped} dropped
 * @param {import("../queue/upload-queue.js").UploadQueue} queue
 * @param {{maxBytes: number, options: () => object, priority: number}} settings
 * @returns {import("../queue/upload-queue.js").Upload[]} what was taken
 */
export function takeIn({ files, folders }, queue, { maxBytes, options, priority }) {
  for (const folder of folders) {
    notify(`“${folder}” is a folder`, { kind: "warn", text: "Open it and drop the tracks that are in it." });
  }
  const taken = [];
  for (const file of files) {
    const refusal = refusalOf(file, maxBytes, fileSize);
    if (refusal) notify(`“${file.name}” was not taken`, { kind: "bad", text: refusal });
    else if (queue.room <= 0) {
      notify("The list is full", { kind: "warn", text: "Wait until some tracks are uploaded, then drop the others again.", key: "full" });
      break;
    } else taken.push(queue.add(file, options(), priority));
  }
  if (taken.length) announce(`${counted(taken.length, "track")} added`);
  return taken;
}
