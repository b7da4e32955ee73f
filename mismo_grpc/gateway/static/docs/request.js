/** A request that the form describes: as fetch takes it, and as a line of curl. */

/** @typedef {{method: string, path: string, headers: Record<string, string>, json?: string, form?: [string, string | File][]}} Request */

/** Builds the path of a request from a template such as /jobs/{job_id}; empty query parameters are left out. */
export function pathOf(template, parameters) {
  const query = new URLSearchParams();
  let path = template;
  for (const { name, place, value, several } of parameters) {
    if (place === "path") path = path.replaceAll(`{${name}}`, encodeURIComponent(value));
    else if (place === "query" && value !== "") {
      for (const each of several ? value.split(",") : [value]) query.append(name, each.trim());
    }
  }
  return query.size ? `${path}?${query}` : path;
}

/** Quotes a word for a POSIX shell, if it needs that. */
export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The line of curl that sends a request. @param {Request} request @param {string} origin */
export function curlOf(request, origin) {
  const parts = ["curl"];
  if (request.method === "HEAD") parts.push("--head");
  else if (request.method !== "GET" && !(request.method === "POST" && (request.json !== undefined || request.form))) parts.push("-X", request.method);
  parts.push(quoted(origin + request.path));
  for (const [name, value] of Object.entries(request.headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (request.json !== undefined) parts.push("-H", quoted("Content-Type: application/json"), "-d", quoted(request.json));
  for (const [name, value] of request.form ?? []) {
    parts.push("-F", quoted(value instanceof File ? `${name}=@${value.name}` : `${name}=${value}`));
  }
  return parts.join(" ");
}

/** Sends a request. @param {Request} request @param {AbortSignal} signal */
export function send(request, signal) {
  const options = { method: request.method, headers: { ...request.headers }, signal, cache: "no-store" };
  if (request.json !== undefined) {
    options.body = request.json;
    options.headers["Content-Type"] = "application/json";
  } else if (request.form) {
    options.body = new FormData();
    for (const [name, value] of request.form) options.body.append(name, value);
  }
  return fetch(request.path, options);
}
