/** The little Markdown of descriptions: code between backticks, and paragraphs. */

import { element } from "../dom.js";

/** The nodes of one paragraph. */
export function prose(text) {
  return text.split(/(`[^`]+`)/).filter(Boolean).map((part) =>
    part.startsWith("`") && part.endsWith("`") && part.length > 2 ? element("code", {}, part.slice(1, -1)) : part);
}

/** Paragraphs, which empty lines separate. */
export function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).map((each) => each.trim()).filter(Boolean).map((each) => element("p", {}, ...prose(each)));
}
