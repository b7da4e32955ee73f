/** Finds out why a WebSocket was not opened: browsers do not show a page the response. */

import { Code } from "@connectrpc/connect";

import { errorOfResponse, MismoError, networkError } from "./errors.js";

/** The server answers, but opens no WebSocket. */
export const WEBSOCKET_REFUSED = "WEBSOCKET_REFUSED";

/** A server that is slower counts as out of reach. */
const ANSWER_MS = 5000;

/** The questions that wait for their answer, by host: all calls that fail at once ask once. */
const asked = new Map<string, Promise<MismoError>>();

/** Asks the server at the address of a refused WebSocket, and returns the error of the call. */
export function refusalOf(socketUrl: URL): Promise<MismoError> {
  let answer = asked.get(socketUrl.host);
  if (answer === undefined) {
    answer = ask(socketUrl).finally(() => asked.delete(socketUrl.host));
    asked.set(socketUrl.host, answer);
  }
  return answer;
}

async function ask(socketUrl: URL): Promise<MismoError> {
  const url = new URL(socketUrl);
  url.protocol = url.protocol === "wss:" ? "https:" : "http:";
  const signal = AbortSignal.timeout(ANSWER_MS);
  try {
    // POST, because with GET browsers do not send the origin, which may be what the server refuses.
    const response = await fetch(url, { method: "POST", cache: "no-store", signal });
    const error = await errorOfResponse(response);
    if (error !== undefined && response.status !== 404) return error;
    if (error === undefined && response.status >= 500) return networkError(`a proxy answers for the server: ${response.status}`);
    return new MismoError(
      Code.Unavailable,
      `${url.host} answers, but opens no WebSocket: it has too many open, or a proxy before it passes none`,
      { reason: WEBSOCKET_REFUSED, retryable: true },
    );
  } catch {
    return (await isSilent(url, signal)) ? networkError("the server could not be reached") : foreignError(url);
  }
}

/** Whether the server gives no answer; one that the page may not read is an answer. */
async function isSilent(url: URL, signal: AbortSignal): Promise<boolean> {
  if (url.origin === globalThis.location?.origin) return true;
  try {
    await fetch(new URL("/health", url), { mode: "no-cors", cache: "no-store", signal });
    return false;
  } catch {
    return true;
  }
}

function foreignError(url: URL): MismoError {
  const page = globalThis.location?.host ?? "";
  return new MismoError(
    Code.PermissionDenied,
    `${url.host} refuses pages of ${page}; have ${page} added to MISMO_HTTP_ALLOWED_HOSTS of the server`,
    { reason: "HOST_FORBIDDEN", field: "Origin" },
  );
}
