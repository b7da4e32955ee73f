/** Chords as musicians write them. */

const QUALITIES = {
  maj: "", min: "m", 7: "7", maj7: "maj7", min7: "m7", dim: "dim", aug: "aug", sus2: "sus2", sus4: "sus4",
  hdim7: "m7b5", dim7: "dim7", minmaj7: "m(maj7)", maj6: "6", min6: "m6",
};

/**
 * Harte's syntax as a chord symbol: "F#:min" is "F#m"; no chord is "".
 * @param {string} label
 */
export function chordSymbol(label) {
  if (label === "N" || label === "X") return "";
  const [root, quality = "maj"] = label.split(":");
  return root + (/** @type {Record<string, string>} */ (QUALITIES)[quality] ?? quality);
}
