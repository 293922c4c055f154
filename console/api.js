/** Requests to the API, which answers under the same address as this page. */

import {parse} from "./exact.js";

const TIMEOUT_MS = 35_000;
const SEARCHES = 40;
const KEPT = 20;
const had = new Map();

/** What the API said instead of an answer (RFC 9457), or that nothing answered (`status` 0). */
export class ApiError extends Error {
  constructor(status, problem = {}, retryAfter = null) {
    super(problem.detail ?? problem.title ?? `the answer was ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
    this.title = problem.title ?? "";
    this.requestId = problem.request_id ?? "";
    this.retryAfter = retryAfter;
  }
}

/** Seconds by which the server's clock is ahead of this machine's. */
let ahead = 0;

/** Epoch seconds by the server's clock. */
export function now() {
  return Date.now() / 1000 + ahead;
}

/**
 * The document under a path such as `incidents`. An answer that is still the same costs one small read.
 *
 * A search that goes on is gone on with. Throws ApiError; AbortError once `signal` says so.
 */
export async function get(path, query = [], {signal} = {}) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask(path, query, signal);
    } catch (error) {
      if (error.code !== "search_unfinished" || attempt === SEARCHES) {
        throw error;
      }
      await pause(error.retryAfter ?? 1, signal);
    }
  }
}

/** The health document, also where it says `fail`. */
export async function getHealth(signal) {
  const {status, document} = await request("health", signal, {});
  if (typeof document?.status !== "string" || document.sources === undefined) {
    throw new ApiError(status, document);
  }
  return document;
}

async function ask(path, query, signal) {
  const pairs = query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  const address = pairs.length ? `${path}?${pairs.join("&")}` : path;
  const kept = had.get(address);
  const {status, document, headers} = await request(address, signal, kept ? {"If-None-Match": kept.etag} : {});
  if (status === 304 && kept) {
    return kept.document;
  }
  if (status !== 200) {
    const seconds = Number(headers.get("Retry-After") ?? NaN);
    throw new ApiError(status, document, Number.isFinite(seconds) ? seconds : null);
  }
  const etag = headers.get("ETag");
  had.delete(address);
  if (etag) {
    had.set(address, {etag, document});
    if (had.size > KEPT) {
      had.delete(had.keys().next().value);
    }
  }
  return document;
}

async function request(address, signal, headers) {
  let response;
  let text;
  const patience = AbortSignal.timeout(TIMEOUT_MS);
  try {
    response = await fetch(address, {
      headers: {Accept: "application/json, application/problem+json;q=0.9, application/health+json;q=0.9", ...headers},
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
      // Incidents do not belong into a browser's cache on disk; what is kept is kept in memory.
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new ApiError(0, {title: "The API does not answer", detail: "is it still running, and can it be reached?"});
  }
  const date = Date.parse(response.headers.get("Date") ?? "");
  ahead = Number.isNaN(date) ? ahead : Math.abs(date - Date.now()) < 2_000 ? 0 : (date - Date.now()) / 1000;
  let document = null;
  try {
    document = text === "" ? null : parse(text);
  } catch {
    throw new ApiError(response.status, {title: "The answer can't be read", detail: "it is no JSON: is this the API's address?"});
  }
  return {status: response.status, document: document ?? {}, headers: response.headers};
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
