/** Starts the page. */

import { Banner } from "./app/banner.js";
import { startHelp } from "./app/help.js";
import { startHero } from "./app/hero.js";
import { takeIn } from "./app/intake.js";
import { Tracks } from "./app/tracks.js";
import { fileSize } from "./format/size.js";
import { roughly } from "./format/time.js";
import { hasEnded, JobState, secondsOf } from "./server/contract.js";
import { loadOffer } from "./server/offer.js";
import { explained } from "./server/remedies.js";
import { browserId, recall, remember } from "./server/stored.js";
import { Library } from "./jobs/library.js";
import { jobTitle } from "./format/names.js";
import { actionOf } from "./player/keyboard.js";
import { chooseFiles, startDrop } from "./queue/drop.js";
import { OptionsForm } from "./queue/options-form.js";
import { UploadQueue } from "./queue/upload-queue.js";
import { showUploads } from "./queue/upload-rows.js";
import { submitSurely } from "./server/submit.js";
import { playerKeys } from "./track/player-keys.js";
import { byId, setText } from "./ui/dom.js";
import { notify } from "./ui/notices.js";
import { forgetColours } from "./ui/palette.js";
import { startTheme } from "./ui/theme.js";
import { errorOf, MismoClient, uploadFile } from "./server/client.js";

const client = new MismoClient();
const banner = new Banner();
const form = new OptionsForm();
const redrawHero = startHero();
const openHelp = startHelp();
let maxBytes = 0;

const queue = new UploadQueue({
  upload: (file, options) => uploadFile(client, file, options),
  submit: (request, signal) => submitSurely(client, request, signal),
  errorOf,
  labels: { client: "web", browser: browserId() },
});

const tracks = new Tracks(client, {
  select: (jobId) => library.select(jobId),
  connection: (state, error) => banner.show(state, error),
  add: (job) => library.jobs.has(job.jobId) && library.add(job),
});

const library = new Library(client, tracks.actions);

startTheme(() => {
  forgetColours();
  redrawHero();
  tracks.view?.redraw();
});

/** Whether the newest track is opened and played as soon as it has sound. */
const playAtOnce = /** @type {HTMLInputElement} */ (byId("play-at-once"));
playAtOnce.checked = recall("play-at-once", true);
playAtOnce.addEventListener("change", () => remember("play-at-once", playAtOnce.checked));

/** The first upload of a drop into an empty page: it is opened when it has its job. */
let toOpen = "";

/** @param {import("./queue/drop.js").Dropped} dropped */
function take(dropped) {
  // A drop or a click is the gesture without which browsers play nothing.
  tracks.wakeAudio();
  const taken = takeIn(dropped, queue, { maxBytes, options: () => form.jobOptions(), priority: form.priority });
  if (taken.length && !tracks.view?.playing) toOpen = taken[0].id;
}

startDrop(take);
for (const button of document.querySelectorAll("[data-choose]")) button.addEventListener("click", chooseFiles);
showUploads(queue, () => library.render());

queue.addEventListener("submitted", (/** @type {any} */ event) => {
  const { job, upload } = event.detail;
  library.add(job);
  // Its priority may have been changed while it was on its way.
  if (upload.priority !== job.priority && !hasEnded(job)) tracks.actions.prioritise(job, upload.priority);
  if (upload.id !== toOpen) return;
  toOpen = "";
  tracks.show(job.jobId, playAtOnce.checked);
});

queue.addEventListener("failed", (/** @type {any} */ event) => {
  const { upload } = event.detail;
  notify(`“${upload.file.name}” was not taken`, { kind: "bad", text: explained(upload.error) });
});

library.addEventListener("connection", (/** @type {any} */ event) => {
  banner.show(event.detail.state, event.detail.error);
  if (event.detail.state !== "open") return;
  void showOffer();
  void tracks.session?.refresh();
});
library.addEventListener("failed", (/** @type {any} */ event) => {
  const again = { label: "Try again", run: () => library.start() };
  notify("The list is not up to date any more", { kind: "bad", key: "list", text: explained(event.detail.error), action: again });
});
library.addEventListener("deleted", (/** @type {any} */ event) => tracks.deleted(event.detail.jobId));
library.addEventListener("job", (/** @type {any} */ event) => {
  const { job, before } = event.detail;
  if (tracks.session?.jobId === job.jobId) tracks.session?.merge(job);
  if (!before || hasEnded(before) || !hasEnded(job) || tracks.session?.jobId === job.jobId) return;
  const open = { label: "Open", run: () => tracks.show(job.jobId, false) };
  if (job.state === JobState.SUCCEEDED) notify(`“${jobTitle(job)}” is ready`, { kind: "good", action: open });
  if (job.state === JobState.FAILED) notify(`“${jobTitle(job)}” failed`, { kind: "bad", text: job.error ? explained(job.error) : "", action: open });
});

form.addEventListener("change", () => setText(byId("choices-words"), form.words));
byId("option-priority").addEventListener("change", (event) => {
  form.priority = Number(/** @type {HTMLSelectElement} */ (event.target).value);
});

window.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { view } = tracks;
  const keys = view && { ...playerKeys(view), volume: (/** @type {number} */ change) => view.setVolume(view.volume + change) };
  const action = (keys && actionOf(event, keys)) ?? pageAction(event);
  if (!action) return;
  event.preventDefault();
  action();
});

/** @param {KeyboardEvent} event */
function pageAction(event) {
  if (!recall("single-keys", true) || event.target instanceof HTMLSelectElement) return undefined;
  if (event.key === "?") return openHelp;
  return event.key.toLowerCase() === "u" ? chooseFiles : undefined;
}

window.addEventListener("beforeunload", (event) => {
  if (queue.busy) event.preventDefault();
});

async function showOffer() {
  try {
    const offer = await loadOffer(client);
    maxBytes = Number(offer.info.limits?.maxUploadBytes ?? 0);
    const longest = secondsOf(offer.info.limits?.maxTrackDuration);
    const kept = secondsOf(offer.info.limits?.defaultResultTtl);
    setText(byId("limits"), [
      "mp3, wav, flac, m4a, ogg, opus, aiff", maxBytes ? `up to ${fileSize(maxBytes)}` : "",
      longest ? `and ${roughly(longest)}` : "", kept ? `· kept for ${roughly(kept)}` : "",
    ].filter(Boolean).join(" "));
    form.show(offer);
    setText(byId("server-line"), [offer.info.devices[0]?.description || offer.info.devices[0]?.name, `version ${offer.info.version}`].filter(Boolean).join(" · "));
  } catch (cause) {
    banner.show("lost", errorOf(cause));
  }
}

void showOffer();
library.start();
tracks.follow();
document.body.dataset.started = "true";
