/** Draws the rows above the waveforms: time and bars, sections, chords. */

import { chordSymbol } from "../format/chords.js";
import { clock } from "../format/time.js";
import { SectionRole } from "../server/contract.js";
import { themeColour } from "../ui/palette.js";
import { firstFrom, tickStep } from "./beats.js";

/** @typedef {import("./waveform.js").Part} Part */

const FONT = '11px system-ui, "Segoe UI", Roboto, sans-serif';
/** @type {Record<number, string>} */
const ROLES = { [SectionRole.INTRO]: "Intro", [SectionRole.OUTRO]: "Outro", [SectionRole.BREAKDOWN]: "Breakdown", [SectionRole.DROP]: "Drop" };
const SECTION_COLOURS = ["--stem-vocals", "--stem-drums", "--stem-other", "--stem-piano", "--stem-bass", "--stem-guitar", "--stem-synth"];

/**
 * A section's name for people: "Drop A", "B".
 * @param {{label: string, role: number}} section
 */
export function sectionName(section) {
  const role = ROLES[section.role];
  return role ? `${role} ${section.label}` : section.label;
}

/**
 * The CSS variable of the colour of all sections with this label.
 * @param {string} label
 */
export function sectionColour(label) {
  return SECTION_COLOURS[Math.max(0, label.charCodeAt(0) - 65) % SECTION_COLOURS.length];
}

/**
 * Ticks with their time, and the numbers of bars below if bars are known.
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 * @param {readonly number[]} downbeats
 * @param {number} duration seconds; nothing is drawn after the end
 */
export function drawTicks(context, part, downbeats, duration) {
  const step = tickStep(part.pixelsPerSecond);
  const end = Math.min(duration, part.start + (part.width + 60) / part.pixelsPerSecond);
  context.font = FONT;
  context.textBaseline = "top";
  // A label that began in the tile before goes on in this one.
  for (let tick = Math.max(0, Math.floor(part.start / step) - 1); tick * step < end; tick += 1) {
    const x = Math.round((tick * step - part.start) * part.pixelsPerSecond);
    context.fillStyle = themeColour("--line-strong");
    context.fillRect(x, 0, 1, 6);
    context.fillStyle = themeColour("--text-2");
    context.fillText(clock(tick * step, { tenths: step < 1 }), x + 4, 2);
  }
  if (downbeats.length < 2) return;
  const bar = ((downbeats[downbeats.length - 1] - downbeats[0]) / (downbeats.length - 1)) * part.pixelsPerSecond;
  const every = [1, 2, 4, 8, 16, 32, 64].find((count) => count * bar >= 34) ?? 128;
  context.fillStyle = themeColour("--text-3");
  for (let index = Math.max(0, firstFrom(downbeats, part.start) - every); index < downbeats.length && downbeats[index] < end; index += 1) {
    if (index % every) continue;
    const x = Math.round((downbeats[index] - part.start) * part.pixelsPerSecond);
    context.globalAlpha = 0.6;
    context.fillRect(x, part.height - 8, 1, 8);
    context.globalAlpha = 1;
    context.fillText(String(index + 1), x + 4, part.height - 13);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 * @param {readonly {start: number, end: number, label: string, role: number}[]} sections
 */
export function drawSections(context, part, sections) {
  drawSpans(context, part, sections, (section, x, width) => {
    const colour = themeColour(sectionColour(section.label));
    context.fillStyle = colour;
    context.globalAlpha = 0.2;
    context.fillRect(x + 1, 1, width - 2, part.height - 2);
    context.globalAlpha = 1;
    context.fillRect(x + 1, 1, 2, part.height - 2);
    context.fillStyle = themeColour("--text");
    context.fillText(sectionName(section), x + 8, part.height / 2 + 0.5, Math.max(1, width - 10));
  });
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 * @param {readonly {start: number, end: number, label: string}[]} chords
 */
export function drawChords(context, part, chords) {
  drawSpans(context, part, chords, (chord, x, width) => {
    const symbol = chordSymbol(chord.label);
    context.fillStyle = themeColour("--line");
    context.fillRect(x, 2, 1, part.height - 4);
    if (!symbol || context.measureText(symbol).width > width - 5) return;
    context.fillStyle = themeColour("--text-2");
    context.fillText(symbol, x + 4, part.height / 2 + 0.5);
  });
}

/**
 * @template {{start: number, end: number}} Span
 * @param {CanvasRenderingContext2D} context
 * @param {Part} part
 * @param {readonly Span[]} spans
 * @param {(span: Span, x: number, width: number) => void} draw
 */
function drawSpans(context, part, spans, draw) {
  context.font = FONT;
  context.textBaseline = "middle";
  const end = part.start + part.width / part.pixelsPerSecond;
  for (const span of spans) {
    if (span.end <= part.start) continue;
    if (span.start >= end) break;
    const x = Math.round((span.start - part.start) * part.pixelsPerSecond);
    draw(span, x, Math.round((span.end - part.start) * part.pixelsPerSecond) - x);
  }
}
