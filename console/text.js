/** Numbers, moments and the upstream's own words, for people. */

import {ExactNumber, render} from "./exact.js";

export const PRIORITIES = ["critical", "high", "medium", "low"];
export const TYPES = ["denial", "intrusion", "executable", "misuse", "unauthorized", "probing", "other"];
export const DAY = 86_400;

const NUMBER = new Intl.NumberFormat("en");
const LONGEST = 300;

/** `12,345`. */
export function number(value) {
  return NUMBER.format(Number(value));
}

/** `1 incident`, `2 incidents`. */
export function count(value, word) {
  return `${number(value)} ${word}${Number(value) === 1 ? "" : "s"}`;
}

/** Epoch seconds as `2026-11-25 14:56:15`, or as they are where they are beyond dates. */
export function moment(seconds) {
  const date = new Date(Math.floor(Number(seconds)) * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().slice(0, 19).replace("T", " ");
}

/** Epoch seconds as RFC 3339, for requests. */
export function rfc3339(seconds) {
  return `${moment(seconds).replace(" ", "T")}Z`;
}

/** A length of time such as `12 s`, `5 min`, `3 h`, `2 days`. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) {
    return `${whole} s`;
  }
  if (whole < 90 * 60) {
    return `${Math.round(whole / 60)} min`;
  }
  return whole < 2 * DAY ? `${Math.round(whole / 3600)} h` : `${Math.round(whole / DAY)} days`;
}

/** What the upstream said, so that it can neither hide nor turn the text around it: control characters are shown. */
export function said(value) {
  const text = typeof value === "string" ? value : value instanceof ExactNumber ? value.text : render(value);
  const cut = text.length > LONGEST ? `${[...text.slice(0, LONGEST)].join("")}… (${number(text.length)} characters)` : text;
  return cut.replace(/\p{C}/gu, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);
}
