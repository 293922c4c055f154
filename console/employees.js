/** Employees with counts and risk: those on top, or all of them by id, a page at a time. */

import {get} from "./api.js";
import {bar, h, replace, table} from "./dom.js";
import {exportButtons} from "./exports.js";
import {address} from "./filters.js";
import {ago, employeeLink, when} from "./incidents.js";
import {PRIORITIES, count, number} from "./text.js";

const LIMIT = 100;
const COLUMNS = ["employee_id", "risk", "critical", "high", "medium", "low", "incidents", "last_incident_at"];

/** The table of `/employees`; bars are relative to the highest risk in it. `short` has little room. */
export function employeeTable(caption, employees, {short = false} = {}) {
  const highest = Math.max(...employees.map((each) => Number(each.risk)), Number.MIN_VALUE);
  const risk = (row) => Number(row.risk).toLocaleString("en", {minimumFractionDigits: 1, maximumFractionDigits: 1});
  return table(
    caption,
    [
      {title: "Employee", header: true, cell: (row) => employeeLink(row.employee_id)},
      {title: "Risk", number: true, class: "risk", cell: (row) => [bar(Number(row.risk) / highest, "plain"), risk(row)]},
      ...PRIORITIES.map((each) => ({
        title: each[0].toUpperCase() + each.slice(1),
        number: true,
        class: each === "critical" && "critical-count",
        cell: (row) => (Number(row.counts[each]) ? number(row.counts[each]) : h("span", {class: "quiet"}, "0")),
      })),
      {title: "Last incident", class: "time", cell: (row) => (short ? ago(row.last_incident_at) : when(row.last_incident_at))},
    ],
    employees,
  );
}

/** How scores come about, in a sentence. */
export function describeScale(scale) {
  const weights = PRIORITIES.map((each) => `${each} ${scale.weights[each]}`).join(", ");
  return `Risk adds up the incidents of an employee (${weights}); each counts half after ${scale.half_life_days} days.`;
}

/** The view of all employees. */
export function employeesView() {
  const results = h("section", {"aria-label": "Results"});
  const orders = h("p", {class: "switch", role: "group", "aria-label": "Order"});
  const element = h("div", {}, h("h1", {tabindex: "-1"}, "Employees"), orders, results);
  return {
    title: "Employees",
    element,
    follows: false,
    async update(query, signal) {
      const sort = query.get("sort") ?? "risk";
      const cursor = query.get("cursor");
      const choice = (name, text) => h("a", {href: address(["employees"], [["sort", name]]), "aria-current": name === sort && "true"}, text);
      replace(orders, choice("risk", "By risk"), choice("employee_id", "By id"));
      const pairs = [["sort", sort], ["limit", String(LIMIT)], ...(cursor ? [["cursor", cursor]] : [])];
      const document = await get("employees", pairs, {signal});
      const {employees} = document;
      const what = sort === "risk" ? `${count(employees.length, "employee")} with the highest risk` : `${count(employees.length, "employee")} on this page`;
      replace(
        results,
        h("div", {class: "bar-of-list"}, h("p", {class: "what"}, what), employees.length > 0 && exportButtons("employees", "employee", () => employees.map(flat), COLUMNS)),
        employees.length ? h("div", {class: "card flush"}, employeeTable(what, employees)) : h("p", {class: "card empty"}, "Nobody has an incident."),
        h(
          "p",
          {class: "pager"},
          cursor && h("a", {href: address(["employees"], [["sort", sort]]), id: "first-page"}, "First page"),
          document.has_more && h("a", {href: address(["employees"], [["sort", sort], ["cursor", document.next_cursor]]), id: "next-page"}, "Next page"),
        ),
        h("p", {class: "quiet"}, describeScale(document.scale)),
      );
      return what;
    },
  };
}

function flat({counts, ...rest}) {
  return {...rest, ...counts};
}
