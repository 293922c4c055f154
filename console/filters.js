/** What narrows a list, and the part of the address that says so. */

import {h} from "./dom.js";
import {now} from "./api.js";
import {DAY, PRIORITIES, TYPES, rfc3339} from "./text.js";

/** Of the address: what the API calls them, and what may be there several times. */
const NAMES = ["priority", "type", "since", "until"];
const LOCAL = /^(\d{4}-\d\d-\d\dT\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z$/;

/** The filters of an address, as pairs for the API. */
export function readFilters(query) {
  return NAMES.flatMap((name) => query.getAll(name).filter(Boolean).map((value) => [name, value]));
}

/** An address within this page: a path of segments, and pairs. */
export function address(segments, pairs = []) {
  const path = `#/${segments.map(encodeURIComponent).join("/")}`;
  const query = new URLSearchParams(pairs.filter(([, value]) => value)).toString();
  return query ? `${path}?${query}` : path;
}

/** The form; `go(pairs)` is called with what was chosen. `show(query)` sets it to an address. */
export function filterForm(go) {
  const boxes = (name, values) =>
    h(
      "fieldset",
      {},
      h("legend", {}, name === "type" ? "Type" : "Priority"),
      values.map((value) =>
        h("label", {class: "choice"}, h("input", {type: "checkbox", name, value, id: `${name}-${value}`}), value),
      ),
    );
  const instant = (name, text) =>
    h("label", {class: "instant"}, text, h("input", {type: "datetime-local", name, id: `filter-${name}`, step: "60", max: "9999-12-31T23:59"}));
  const choose = (event) => {
    event.preventDefault();
    const chosen = new FormData(form);
    go(
      NAMES.flatMap((name) =>
        chosen.getAll(name).filter(Boolean).map((value) => [name, name === "since" || name === "until" ? `${value}Z` : value]),
      ).map(([name, value]) => [name, LOCAL.test(value) || name === "priority" || name === "type" ? value : value.replace(/Z$/, ":00Z")]),
    );
  };
  const last = (text, days) =>
    h("button", {type: "button", id: `last-${days}`, onclick: () => {
      form.elements.since.value = days ? rfc3339(Math.floor((now() - days * DAY) / 60) * 60).slice(0, 16) : "";
      form.elements.until.value = "";
      form.requestSubmit();
    }}, text);
  const form = h(
    "form",
    {class: "filters card", "aria-label": "Filters", onsubmit: choose, onchange: () => form.requestSubmit()},
    boxes("priority", PRIORITIES),
    boxes("type", TYPES),
    h(
      "fieldset",
      {},
      h("legend", {}, "Time (UTC)"),
      instant("since", "From "),
      instant("until", "To before "),
      h("span", {class: "ranges"}, last("24 hours", 1), last("7 days", 7), last("30 days", 30), last("All time", 0)),
    ),
    h("p", {class: "filter-buttons"}, h("button", {type: "button", id: "filters-reset", onclick: () => go([])}, "Show all")),
  );
  const show = (query) => {
    for (const box of form.querySelectorAll("input[type=checkbox]")) {
      box.checked = query.getAll(box.name).some((each) => each.split(",").includes(box.value));
    }
    for (const name of ["since", "until"]) {
      const value = query.get(name) ?? "";
      const seconds = /^\d+(\.\d+)?$/.test(value) ? rfc3339(value) : value;
      const wanted = LOCAL.exec(seconds)?.[1] ?? "";
      // Whoever is typing a date goes on.
      if (form.elements[name].value !== wanted && document.activeElement !== form.elements[name]) {
        form.elements[name].value = wanted;
      }
    }
  };
  return {form, show};
}
