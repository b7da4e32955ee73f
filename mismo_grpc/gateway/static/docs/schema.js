/** Schemas of an OpenAPI 3.1 document in words, as tables and as examples. */

import { element } from "../dom.js";
import { prose } from "./prose.js";

const MAX_DEPTH = 6;

/** Finds what a schema refers to; `seen` guards against a circle of references. */
export function resolve(document, schema) {
  let found = schema ?? {};
  for (let seen = 0; found.$ref && seen < 20; seen++) {
    found = found.$ref.split("/").slice(1).reduce((node, key) => node?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], document) ?? {};
  }
  return found;
}

const alternatives = (schema) => (schema.anyOf ?? schema.oneOf ?? []).filter((each) => each.type || each.$ref || each.properties);

/** The type in a few words, such as "list of text" or "high, normal or low". */
export function typeOf(document, schema, depth = 0) {
  const found = resolve(document, schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return inWords(found.enum.map(String));
  const several = alternatives(found);
  if (several.length && depth < MAX_DEPTH) return inWords([...new Set(several.map((each) => typeOf(document, each, depth + 1)))]);
  if (Array.isArray(found.type)) return inWords(found.type.map((type) => typeOf(document, { ...found, type }, depth + 1)));
  if (found.type === "array") return depth < MAX_DEPTH ? `list of ${typeOf(document, found.items, depth + 1)}` : "list";
  if (found.format === "binary" || found.contentMediaType) return "file";
  return { string: "text", integer: "whole number", number: "number", boolean: "true or false", object: "object", null: "null" }[found.type] ?? "any";
}

function inWords(choices) {
  return choices.length < 2 ? choices.join("") : `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
}

/** A table of the fields of an object, nested fields by their path; undefined if the schema has none. */
export function fieldTable(document, schema, caption) {
  const rows = fieldsOf(document, schema);
  return rows.length ? fieldsTable(document, rows, caption) : undefined;
}

/** Rows for `fieldsTable`: {name, required, schema, description}. */
function fieldsOf(document, schema, prefix = "", depth = 0) {
  const found = resolve(document, schema);
  if (depth > MAX_DEPTH) return [];
  return Object.entries(found.properties ?? {}).flatMap(([name, property]) => {
    const inner = resolve(document, property);
    const nested = inner.type === "array" ? inner.items : inner;
    const path = `${prefix}${name}${inner.type === "array" && resolve(document, nested).properties ? "[]" : ""}`;
    const required = (found.required ?? []).includes(name);
    return [{ name: path, required, schema: inner }, ...fieldsOf(document, nested, `${path}.`, depth + 1)];
  });
}

/** A parameter that may be null is one that may be left out, which the table says already. */
function withoutNull(schema, place) {
  return place && schema.anyOf ? { ...schema, anyOf: schema.anyOf.filter(({ type }) => type !== "null") } : schema;
}

/** A table of fields or parameters: name, type, meaning. */
export function fieldsTable(document, rows, caption) {
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {},
      element("caption", { class: "visually-hidden" }, caption),
      element("thead", {}, element("tr", {}, ...["Name", "Type", "Meaning"].map((title) => element("th", { scope: "col" }, title)))),
      element("tbody", {}, ...rows.map(({ name, place, required, schema, description }) => {
        const found = withoutNull(resolve(document, schema), place);
        const meaning = element("td", {}, ...prose(description ?? found.description ?? ""));
        if (found.default !== undefined && found.default !== "" && found.default !== null) {
          meaning.append(element("span", { class: "default" }, "default ", element("code", {}, JSON.stringify(found.default))));
        }
        return element("tr", {},
          element("th", { scope: "row" }, element("code", {}, name), required ? element("span", { class: "required" }, "required") : "", place ? element("span", { class: "place" }, place) : ""),
          element("td", {}, typeOf(document, found)), meaning);
      }))));
}

/** An example value of a schema: its own example, or one made of its parts. Only required fields and those with an example. */
export function exampleOf(document, schema, depth = 0) {
  const found = resolve(document, schema);
  const given = found.example ?? found.examples?.[0] ?? found.const ?? found.default ?? found.enum?.[0];
  if (given !== undefined) return given;
  if (depth > MAX_DEPTH) return null;
  if (found.properties) {
    const wanted = new Set([...(found.required ?? []), ...(found.oneOf?.[0]?.required ?? [])]);
    return Object.fromEntries(
      Object.entries(found.properties)
        .filter(([name, property]) => wanted.has(name) || resolve(document, property).example !== undefined)
        // Of fields that exclude each other, the first choice alone.
        .filter(([name]) => wanted.has(name) || !found.oneOf?.some((choice) => choice.required?.includes(name)))
        .map(([name, property]) => [name, exampleOf(document, property, depth + 1)]),
    );
  }
  const several = alternatives(found);
  if (several.length) return exampleOf(document, several[0], depth + 1);
  if (found.type === "array") return [exampleOf(document, found.items, depth + 1)];
  return { string: "text", integer: 0, number: 0, boolean: true, object: {} }[found.type] ?? null;
}
