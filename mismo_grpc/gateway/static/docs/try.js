/** The form that tries a route: it sends a real request to this server. */

import { element } from "../dom.js";
import { curlOf, pathOf, send } from "./request.js";
import { exampleOf, resolve, typeOf } from "./schema.js";

const SHOWN_CHARS = 20_000;
const READABLE = /^(text\/|application\/(json|.*\+json|xml))/;
const JSON_TYPE = "application/json";
const FORM_TYPE = "multipart/form-data";
let forms = 0;

/** Builds the form of a route. `route` is {method, path, parameters, body} with the schemas of the document. */
export function tryForm(document, route) {
  const id = `try-${++forms}`;
  const types = Object.keys(route.body ?? {});
  const fields = route.parameters.map((parameter, index) => field(document, parameter, `${id}-${index}`));
  const form = element("form", { class: "try", "aria-label": `Try ${route.method} ${route.path}` });
  const bodies = new Map(types.map((type) => [type, bodyOf(document, type, route.body[type], `${id}-${type.replace(/\W/g, "-")}`)]));
  let chosen = types[0];
  const area = element("div", { class: "body" });

  const choose = (type) => {
    chosen = type;
    area.replaceChildren(...(bodies.get(type)?.nodes ?? []));
    update();
  };
  const request = () => ({
    method: route.method,
    path: pathOf(route.path, fields.map((each) => each.read())),
    headers: {},
    ...(bodies.get(chosen)?.read() ?? {}),
  });
  const curl = element("code", {});
  const update = () => { curl.textContent = curlOf(request(), location.origin); };

  const said = element("p", { class: "said", role: "status" });
  const output = element("div", { class: "output" });
  const copy = element("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(curl.textContent);
      said.textContent = "The line is copied.";
    } catch {
      // Without HTTPS browsers give no clipboard: the line is selected instead.
      getSelection().selectAllChildren(curl);
      said.textContent = "The line is selected; copy it with the keyboard.";
    }
  });
  const button = element("button", { type: "submit", class: "primary" }, "Send request");
  form.addEventListener("input", update);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    said.textContent = "Sending…";
    output.replaceChildren();
    try {
      const begin = performance.now();
      const response = await send(request(), AbortSignal.timeout(120_000));
      const nodes = await shown(response);
      said.textContent = `${response.status} ${response.statusText} after ${Math.round(performance.now() - begin)} ms`;
      output.replaceChildren(...nodes);
    } catch (error) {
      said.textContent = error.name === "TimeoutError" ? "The server did not answer within two minutes." : "The server did not answer: it has stopped, or the network is down.";
    }
    button.disabled = false;
  });

  if (types.length > 1) {
    const select = element("select", { id: `${id}-type` }, ...types.map((type) => element("option", { value: type }, type)));
    select.addEventListener("change", () => choose(select.value));
    form.append(element("div", { class: "field" }, element("label", { for: select.id }, "Body"), select));
  }
  form.prepend(...fields.map((each) => each.node));
  form.append(area,
    element("div", { class: "curl" }, element("pre", { tabindex: "0", "aria-label": "The same with curl" }, curl), copy),
    element("div", { class: "send" }, button, said), output);
  choose(chosen);
  return form;
}

function field(document, parameter, id) {
  const schema = resolve(document, parameter.schema);
  const type = typeOf(document, schema);
  const several = /\blist of\b/.test(type);
  const input = element("input", { id, type: "text", autocomplete: "off", spellcheck: "false", required: parameter.required, placeholder: several ? "several, with commas" : type });
  const node = element("div", { class: "field" }, element("label", { for: id }, element("code", {}, parameter.name), parameter.required ? " (required)" : ""), input);
  return { node, read: () => ({ name: parameter.name, place: parameter.in, value: input.value, several }) };
}

function bodyOf(document, type, { schema }, id) {
  if (type === FORM_TYPE) return formBody(document, resolve(document, schema), id);
  const area = element("textarea", { id, rows: 8, spellcheck: "false" });
  area.value = JSON.stringify(exampleOf(document, schema), null, 2);
  const nodes = [element("div", { class: "field wide" }, element("label", { for: id }, type === JSON_TYPE ? "Body, JSON" : `Body, ${type}`), area)];
  return { nodes, read: () => ({ json: area.value }) };
}

function formBody(document, schema, id) {
  const required = new Set([...(schema.required ?? []), ...(schema.oneOf?.[0]?.required ?? [])]);
  const inputs = Object.entries(schema.properties ?? {}).map(([name, property], index) => {
    const type = typeOf(document, property);
    const file = type === "file";
    const input = element("input", { id: `${id}-${index}`, type: file ? "file" : "text", required: required.has(name), autocomplete: "off", placeholder: file ? undefined : type });
    const node = element("div", { class: "field" }, element("label", { for: input.id }, element("code", {}, name), required.has(name) ? " (required)" : ""), input);
    return { name, input, node };
  });
  const read = () => ({
    form: inputs.flatMap(({ name, input }) => {
      if (input.type === "file") return [...input.files].map((file) => [name, file]);
      return input.value ? [[name, input.value]] : [];
    }),
  });
  return { nodes: inputs.map(({ node }) => node), read };
}

/** A response as nodes: its headers, and its body if it is text. */
async function shown(response) {
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  const nodes = [element("details", {}, element("summary", {}, "Headers"), element("pre", { tabindex: "0", "aria-label": "Headers of the response" }, headers))];
  const type = response.headers.get("content-type") ?? "";
  if (!READABLE.test(type)) {
    const size = response.headers.get("content-length");
    await response.body?.cancel();
    return [...nodes, element("p", {}, `The body is ${type || "empty"}${size ? `, ${Number(size).toLocaleString("en")} bytes` : ""}; use the line of curl with -O to save it.`)];
  }
  let body = await response.text();
  if (type.startsWith(JSON_TYPE)) {
    try {
      body = JSON.stringify(JSON.parse(body), null, 2);
    } catch {
      // Shown as it came.
    }
  }
  const cut = body.length > SHOWN_CHARS;
  nodes.push(element("pre", { class: "response", tabindex: "0", "aria-label": "Body of the response" }, body.slice(0, SHOWN_CHARS)));
  if (cut) nodes.push(element("p", {}, `The first ${SHOWN_CHARS.toLocaleString("en")} of ${body.length.toLocaleString("en")} characters.`));
  return nodes;
}
