/** Lists of incidents: everybody's, one employee's, and those that wait for their employee. */

import {get, now} from "./api.js";
import {canDraw, timeline} from "./charts.js";
import {h, replace, table} from "./dom.js";
import {exportButtons} from "./exports.js";
import {address, filterForm, readFilters} from "./filters.js";
import {DAY, PRIORITIES, count, moment, number, said, span} from "./text.js";

const ROWS = 300;
const EMPLOYEES = 50;
const WAITING = 200;
const OWN_COLUMNS = new Set(["id", "employee_id", "type", "priority", "timestamp"]);

/** A priority as a word that also has its colour. */
export function priorityTag(priority) {
  return h("span", {class: `tag ${PRIORITIES.includes(priority) ? priority : ""}`}, said(priority));
}

/** A link to an employee's own view. */
export function employeeLink(employeeId) {
  return h("a", {href: address(["employees", employeeId])}, said(employeeId));
}

/** A moment, with how long ago it was where that says more. */
export function when(seconds) {
  const age = now() - Number(seconds);
  return [
    h("time", {datetime: `${moment(seconds).replace(" ", "T")}Z`}, moment(seconds)),
    age >= 0 && age < 2 * DAY && h("span", {class: "quiet ago"}, ` ${span(age)} ago`),
  ];
}

/** How long ago a moment was, in little room. */
export function ago(seconds) {
  const age = now() - Number(seconds);
  const exact = moment(seconds);
  return h("time", {datetime: `${exact.replace(" ", "T")}Z`, title: exact}, age >= 0 ? `${span(age)} ago` : exact);
}

/** A table of incidents; `isNew(incident)` are marked. `short`: without what all rows have in common, and ids. */
export function incidentTable(caption, incidents, {withEmployee = true, isNew = () => false, short = false} = {}) {
  return table(
    caption,
    [
      {title: "Time", header: true, class: "time", cell: (row) => [isNew(row) && h("strong", {class: "new"}, "new "), when(row.timestamp)]},
      !short && {title: "Priority", cell: (row) => priorityTag(row.priority)},
      {title: "Type", cell: (row) => said(row.type)},
      withEmployee && {title: "Employee", cell: (row) => employeeLink(row.employee_id)},
      {title: "Details", class: "details", cell: (row) => details(row)},
      !short && {title: "Id", class: "id", cell: (row) => h("span", {title: row.id}, said(row.id).slice(0, 8))},
    ].filter(Boolean),
    incidents,
  );
}

/** All incidents of an answer that is grouped by employee, the newest first. */
export function flatten(document) {
  return newestFirst(
    Object.values(document.incidents).flatMap((groups) => PRIORITIES.flatMap((priority) => groups[priority].incidents)),
  );
}

/** Incidents of all employees, a page at a time. */
export function incidentsView() {
  return listView({
    title: "Incidents",
    segments: ["incidents"],
    ask: async (query, signal) => {
      const cursor = query.get("cursor");
      const pairs = [...readFilters(query), ["limit", String(EMPLOYEES)], ...(cursor ? [["cursor", cursor]] : [])];
      const document = await get("incidents", pairs, {signal});
      return {document, incidents: flatten(document), of: ` of ${count(Object.keys(document.incidents).length, "employee")}`};
    },
    name: "incidents",
    nothing: "No incident matches.",
  });
}

/** Incidents whose employee is not known yet. */
export function unattributedView() {
  return listView({
    title: "Unattributed incidents",
    intro: "Their IP address is not among the upstream's identities yet. The first poll that finds it there gives them to their employee.",
    segments: ["unattributed"],
    ask: async (query, signal) => {
      const cursor = query.get("cursor");
      const pairs = [...readFilters(query), ["limit", String(WAITING)], ...(cursor ? [["cursor", cursor]] : [])];
      const document = await get("incidents/unattributed", pairs, {signal});
      return {document, incidents: newestFirst(document.data), of: ""};
    },
    name: "unattributed",
    nothing: "No incident waits for its employee.",
    withEmployee: false,
  });
}

/** One employee's incidents over time. */
export function employeeView(employeeId) {
  return listView({
    title: `Employee ${said(employeeId)}`,
    segments: ["employees", employeeId],
    ask: async (query, signal) => {
      const cursor = query.get("cursor");
      const pairs = [...readFilters(query), ...(cursor ? [["cursor", cursor]] : [])];
      const document = await get(`employees/${encodeURIComponent(employeeId)}/incidents`, pairs, {signal});
      const [groups] = Object.values(document.incidents);
      return {document, incidents: flatten(document), groups, of: ""};
    },
    name: `employee-${employeeId.replace(/[^0-9]/g, "")}`,
    nothing: "No incident of this employee matches.",
    withEmployee: false,
    withTimeline: true,
    missing: `No incident of employee ${said(employeeId)} is kept.`,
  });
}

function listView({title, intro, segments, ask, name, nothing, missing, withEmployee = true, withTimeline = false}) {
  const {form, show} = filterForm((pairs) => {
    location.hash = address(segments, pairs);
  });
  const results = h("section", {class: "results", "aria-label": "Results"});
  const view = h("div", {}, h("h1", {tabindex: "-1"}, title), intro && h("p", {class: "quiet"}, intro), form, results);
  let limit = ROWS;
  return {
    title,
    element: view,
    // What one is in the middle of reading does not move under one's eyes.
    follows: withTimeline,
    async update(query, signal) {
      show(query);
      results.setAttribute("aria-busy", "true");
      try {
        const answer = await ask(query, signal);
        limit = ROWS;
        draw(answer, query);
      } catch (error) {
        if (error.code === "employee_not_found" && missing) {
          replace(results, h("p", {class: "card empty"}, missing));
          return missing;
        }
        throw error;
      } finally {
        results.removeAttribute("aria-busy");
      }
      return results.dataset.said;
    },
  };

  function draw({document, incidents, groups, of}, query) {
    const cursor = query.get("cursor");
    const shown = incidents.slice(0, limit);
    const what = `${count(incidents.length, "incident")}${of}${document.has_more || cursor ? " on this page" : ""}`;
    results.dataset.said = what;
    const onlyFilters = readFilters(query);
    replace(
      results,
      groups && h("ul", {class: "counts"}, PRIORITIES.map((each) => h("li", {}, priorityTag(each), " ", h("strong", {}, number(groups[each].count))))),
      withTimeline && incidents.length > 0 && canDraw() &&
        h("div", {class: "card"}, h("h2", {}, "Timeline"), timeline(incidents, `${what} over time; the table below lists them`)),
      h("div", {class: "bar-of-list"}, h("p", {class: "what"}, what), incidents.length > 0 && exportButtons(name, "incident", () => incidents)),
      incidents.length
        ? h("div", {class: "card flush"}, incidentTable(`${title}: ${what}`, shown, {withEmployee}))
        : h("p", {class: "card empty"}, nothing),
      h(
        "p",
        {class: "pager"},
        shown.length < incidents.length &&
          h("button", {type: "button", id: "more-rows", onclick: () => {
            limit += ROWS;
            draw({document, incidents, groups, of}, query);
          }}, `Show ${number(Math.min(ROWS, incidents.length - shown.length))} more of this page`),
        cursor && h("a", {href: address(segments, onlyFilters), id: "first-page"}, "First page"),
        document.has_more && h("a", {href: address(segments, [...onlyFilters, ["cursor", document.next_cursor]]), id: "next-page"}, "Next page"),
      ),
    );
  }
}

function newestFirst(incidents) {
  return [...incidents].sort((one, other) => Number(other.timestamp) - Number(one.timestamp));
}

function details(incident) {
  return Object.entries(incident)
    .filter(([name]) => !OWN_COLUMNS.has(name))
    .map(([name, value], index) => [
      index > 0 && ", ",
      h("span", {class: "detail"}, h("span", {class: "quiet"}, `${said(name)} `), h("bdi", {}, said(value))),
    ]);
}
