/** The API's documentation: every route of /openapi.json, searchable, with a form to try it. */

import { element } from "../dom.js";
import { paragraphs, prose } from "./prose.js";
import { fieldTable, fieldsTable, exampleOf } from "./schema.js";
import { tryForm } from "./try.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const at = (id) => document.getElementById(id);

/** All routes of a document, by tag in its order: {tag: [{method, path, id, ...}]}. */
function routesOf(api) {
  const byTag = new Map();
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const tag = operation.tags?.[0] ?? "other";
      const route = {
        tag, path, operation, method: method.toUpperCase(), id: `${method}-${path.replace(/[^\w]+/g, "-").replace(/^-|-$/g, "")}`,
        parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])], body: operation.requestBody?.content,
      };
      byTag.set(tag, [...(byTag.get(tag) ?? []), route]);
    }
  }
  return byTag;
}

function badge(method) {
  return element("span", { class: `method ${method.toLowerCase()}` }, method);
}

/** One route: a line that opens to all about it. What is inside is built when it is first opened. */
function routeItem(api, route) {
  const item = element("details", { class: "route", id: route.id },
    element("summary", {}, badge(route.method), element("code", { class: "path" }, ...breakable(route.path)), element("span", { class: "summary" }, ...prose(route.operation.summary ?? ""))));
  item.addEventListener("toggle", () => {
    if (item.open && item.children.length === 1) item.append(routeBody(api, route));
  });
  return item;
}

/** A path that may break over lines after its slashes. */
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")]);
}

function routeBody(api, route) {
  const { operation, parameters, body } = route;
  const inside = element("div", { class: "inside" }, ...paragraphs(operation.description));
  if (parameters.length) {
    const rows = parameters.map((each) => ({ ...each, place: each.in }));
    inside.append(element("h4", {}, "Parameters"), fieldsTable(api, rows, `Parameters of ${route.method} ${route.path}`));
  }
  for (const [type, { schema }] of Object.entries(body ?? {})) {
    inside.append(element("h4", {}, "Body ", element("code", {}, type)));
    const table = fieldTable(api, schema, `Fields of the body, ${type}`);
    if (table) inside.append(table);
  }
  const responses = Object.entries(operation.responses ?? {});
  inside.append(element("h4", {}, "Responses"),
    element("ul", { class: "responses", role: "list" }, ...responses.map(([status, response]) => {
      const [type, { schema } = {}] = Object.entries(response.content ?? {})[0] ?? [];
      const line = element("li", {}, element("code", {}, status), element("span", {}, ...prose(response.description ?? "")), type ? element("code", { class: "place" }, type) : "");
      const table = schema && fieldTable(api, schema, `Fields of response ${status}`);
      return table ? element("li", {}, element("details", {}, element("summary", {}, ...line.childNodes), table, exampleBlock(api, schema))) : line;
    })),
    element("h4", {}, "Try it"), tryForm(api, route));
  return inside;
}

function exampleBlock(api, schema) {
  return element("pre", { tabindex: "0", "aria-label": "Example" }, JSON.stringify(exampleOf(api, schema), null, 2));
}

class DocsPage {
  constructor(api) {
    this.entries = [];
    at("intro").replaceChildren(
      ...paragraphs(api.info.description),
      element("p", { class: "links" }, `Version ${api.info.version}. For programs: `, element("a", { href: "/openapi.json" }, "/openapi.json"), "."));
    const contents = [];
    const sections = [];
    for (const [tag, routes] of routesOf(api)) {
      const links = routes.map((route) => {
        const link = element("a", { href: `#${route.id}` }, badge(route.method), element("span", {}, ...breakable(route.path)));
        const entry = { item: routeItem(api, route), link: element("li", {}, link), words: wordsOf(route) };
        link.addEventListener("click", () => this.open(route.id));
        this.entries.push(entry);
        return entry;
      });
      const list = element("ul", { role: "list" }, ...links.map((entry) => entry.link));
      contents.push(element("div", { class: "group" }, element("h2", {}, tag), list));
      sections.push(element("section", { "aria-labelledby": `tag-${tag}` }, element("h2", { id: `tag-${tag}` }, tag), ...links.map((entry) => entry.item)));
    }
    at("contents").replaceChildren(...contents);
    at("routes").replaceChildren(...sections);
    at("search").addEventListener("input", (event) => this.search(event.target.value));
    addEventListener("hashchange", () => this.open(location.hash.slice(1)));
    this.open(location.hash.slice(1));
  }

  /** Opens a route and goes there. */
  open(id) {
    const entry = this.entries.find(({ item }) => item.id === id);
    if (!entry) return;
    entry.item.open = true;
    entry.item.scrollIntoView({ block: "start" });
    entry.item.querySelector("summary").focus({ preventScroll: true });
  }

  /** Shows only the routes that have all the words. */
  search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const { item, link, words: all } of this.entries) {
      const fits = words.every((word) => all.includes(word));
      found += Number(fits);
      item.hidden = link.hidden = !fits;
    }
    for (const group of document.querySelectorAll("#contents .group, #routes section")) {
      group.hidden = ![...group.querySelectorAll("li, .route")].some((each) => !each.hidden);
    }
    at("found").textContent = words.length ? (found ? `${found} of ${this.entries.length} routes` : "No route has these words.") : "";
  }
}

function wordsOf({ method, path, operation, tag, parameters, body }) {
  return JSON.stringify([method, path, tag, operation.summary, operation.description, parameters.map(({ name }) => name), body ?? ""]).toLowerCase();
}

/** The description of the API; undefined if the server does not answer. */
async function description() {
  try {
    const response = await fetch("/openapi.json", { cache: "no-cache" });
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

const api = await description();
if (api) {
  new DocsPage(api);
} else {
  const problem = at("problem");
  problem.hidden = false;
  problem.textContent = "The description of the API could not be loaded: the server does not answer. Reload the page once it runs.";
}
