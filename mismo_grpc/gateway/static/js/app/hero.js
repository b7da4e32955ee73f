/** The picture of the empty page: four stems as a player draws them, from a formula. */

import { prepared } from "../timeline/tiles.js";
import { byId } from "../ui/dom.js";
import { themeColour } from "../ui/palette.js";

/** How loud each stem is over time; beats a bar, and where in the picture it is there. */
const STEMS = [
  { colour: "--stem-vocals", beats: 1.5, sharp: 0.9, parts: [[0.1, 0.34], [0.42, 0.7], [0.78, 0.97]] },
  { colour: "--stem-drums", beats: 4, sharp: 5, parts: [[0, 1]] },
  { colour: "--stem-bass", beats: 2, sharp: 1.6, parts: [[0.06, 0.48], [0.54, 1]] },
  { colour: "--stem-other", beats: 0.7, sharp: 0.7, parts: [[0, 0.62], [0.66, 1]] },
];
const BARS = 20;

/** Draws the picture, again whenever its size changes. @returns {() => void} draws it again */
export function startHero() {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("hero"));
  const draw = () => {
    const { clientWidth: width, clientHeight: height } = /** @type {HTMLElement} */ (canvas.parentElement);
    if (width && height) drawHero(prepared(canvas, width, height), width, height);
  };
  new ResizeObserver(draw).observe(/** @type {HTMLElement} */ (canvas.parentElement));
  return draw;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number} height
 */
function drawHero(context, width, height) {
  const lane = height / STEMS.length;
  STEMS.forEach(({ colour, beats, sharp, parts }, index) => {
    context.fillStyle = themeColour(colour);
    for (let x = 0; x < width; x += 3) {
      const place = x / width;
      const part = parts.find(([start, end]) => place >= start && place < end);
      const phase = (place * BARS * beats) % 1;
      const grain = 0.55 + 0.45 * Math.abs(Math.sin(x * 12.9898 + index * 78.233) * Math.cos(x * 4.1414));
      const fade = part ? Math.min(1, (place - part[0]) * 30, (part[1] - place) * 30) : 0;
      const reach = Math.max(0.75, Math.exp(-phase * sharp) * grain * fade * lane * 0.4);
      context.fillRect(x, lane * (index + 0.5) - reach, 2, reach * 2);
    }
  });
}
