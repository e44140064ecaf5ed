// The API of this stack, asked with the key of this tab.

const KEY = "easyconnect-key";
const here = new URL("..", document.baseURI).href.replace(/\/$/, "");

export const apiAddress = here;

export class Problem extends Error {
  constructor(status, body) {
    super(body.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = body.code ?? "unreachable";
    this.hint = body.hint ?? "";
    this.retryAfter = body.retryAfter ?? null;
  }
}

/** The key stays in this tab: it is in no address, and gone when the tab is closed. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

export async function ask(method, path, body, signal) {
  const headers = { Accept: "application/json", "X-API-Key": key.get() ?? "" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(here + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "unreachable" });
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    if (response.ok) throw new Problem(response.status, {});
  }
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}

export const get = (path, signal) => ask("GET", path, undefined, signal);
export const post = (path, body = {}) => ask("POST", path, body);

/** Acts once, however often it is sent. */
export const once = (path, body) => post(path, { ...body, requestId: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` });

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
