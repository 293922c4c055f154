/** What one wants to see in ten seconds. */

import {get, getHealth, now} from "./api.js";
import {canDraw, dayChart, dayTable} from "./charts.js";
import {bar, h, replace, table} from "./dom.js";
import {describeScale, employeeTable} from "./employees.js";
import {exportButtons} from "./exports.js";
import {address} from "./filters.js";
import {flatten, incidentTable} from "./incidents.js";
import {DAY, TYPES, count, moment, number, rfc3339, span} from "./text.js";

const PERIODS = [7, 30, 90, 365];
const DEFAULT_PERIOD = 30;
const TOP = 10;
// The newest ones; the rest is behind the link.
const LATEST = 8;
// A page comes by employee, not by time: only a whole answer has the newest ones. So few fit into one.
const IN_ONE_ANSWER = 300;
const ATTEMPTS = 8;
// To find them all incidents are read, some 3 read units a hundred: with more than these only when asked to.
const READ_UNASKED = 100_000;

/** The view; `live` tells of health and of what came since the page was opened, `again()` shows it anew. */
export function overviewView(live, again) {
  const tiles = h("section", {class: "tiles", "aria-label": "In short"});
  const [days, atRisk, critical, types, sources] = ["days", "at-risk", "critical", "types", "sources"].map((name) =>
    h("section", {class: `card ${name}`, "aria-labelledby": `${name}-title`}),
  );
  const periods = h("p", {class: "switch", role: "group", "aria-label": "Period"});
  const element = h(
    "div",
    {class: "overview"},
    h("div", {class: "title-row"}, h("h1", {tabindex: "-1"}, "Overview"), periods),
    tiles,
    h("div", {class: "grid"}, days, atRisk, critical, types),
    sources,
  );
  let latest = null;
  let told = null;
  let newest = null;
  let isAsked = false;
  // Those that were there when the page was opened: all others are new.
  let seen = null;

  return {
    title: "Overview",
    element,
    follows: true,
    async update(query, signal) {
      const period = query.get("days") ?? String(DEFAULT_PERIOD);
      const asked = isAsked;
      isAsked = false;
      const [summary, health] = await Promise.all([get("summary", [["days", period]], {signal}), live.health ?? getHealth(signal)]);
      const stored = Number(health.total_identified_incidents);
      const yesterday = Date.parse(summary.period.until) / 1000 - 2 * DAY;
      const since = rfc3339(yesterday);
      const many = lastTwo(summary, yesterday).critical;
      const [employees, found] = await Promise.all([
        get("employees", [["sort", "risk"], ["limit", String(TOP)]], {signal}),
        many > 0 && stored > READ_UNASKED && !asked ? newest : getNewestCriticals(yesterday, many, signal),
      ]);
      newest = found;
      latest = {summary, yesterday, since, stored};
      if (newest) {
        seen ??= new Set(newest.incidents.map((each) => each.id));
      }
      const choice = (each) =>
        h("a", {href: address([], each === DEFAULT_PERIOD ? [] : [["days", String(each)]]), "aria-current": String(each) === period && "true"}, `${each} days`);
      replace(periods, PERIODS.map(choice));
      drawTiles();
      drawDays(summary);
      replace(
        atRisk,
        h("h2", {id: "at-risk-title"}, "Most at risk"),
        employees.employees.length ? employeeTable("Employees with the highest risk", employees.employees, {short: true}) : h("p", {class: "empty"}, "Nobody has an incident."),
        h("p", {class: "quiet"}, describeScale(employees.scale), " ", h("a", {href: address(["employees"])}, "All employees")),
      );
      drawCritical();
      drawTypes(summary);
      drawSources();
      return `${count(summary.incidents, "incident")} in ${summary.period.days} days`;
    },
    /** Health was asked for: what has changed is drawn anew, ages go on by themselves. */
    refresh() {
      const {health} = live;
      const now = JSON.stringify([live.word(), live.arrived, health?.output?.replace(/\d+/g, ""), Object.values(health?.sources ?? {}).map((each) => each.state)]);
      if (latest && now !== told) {
        told = now;
        drawTiles();
        drawSources();
      }
    },
  };

  function drawTiles() {
    const {summary, yesterday, since} = latest;
    const {before, today, critical: criticals} = lastTwo(summary, yesterday);
    const week = summary.by_day.slice(-8, -1);
    const mean = week.reduce((sum, each) => sum + each.incidents, 0) / Math.max(1, week.length);
    const {health} = live;
    replace(
      tiles,
      tile(
        "Data",
        live.word(),
        health ? [h("span", {class: "age"}, live.age()), sourcesInShort(health)] : [],
        {state: live.state(), id: "tile-data"},
      ),
      tile(
        "New since yesterday",
        number(today.incidents + before.incidents),
        [`today ${number(today.incidents)}, yesterday ${number(before.incidents)}`, week.length === 7 && `${number(Math.round(mean))} a day in the week before`],
        {href: address(["incidents"], [["since", since]]), id: "tile-new"},
      ),
      tile(
        "Critical since yesterday",
        number(criticals),
        [`${number(summary.by_priority.critical)} in ${summary.period.days} days`],
        {href: address(["incidents"], [["priority", "critical"], ["since", since]]), state: criticals ? "critical" : null, id: "tile-critical"},
      ),
      tile("Incidents", number(summary.incidents), [`in ${summary.period.days} days`, `${count(summary.employees_affected, "employee")} affected`], {id: "tile-incidents"}),
      tile("Unattributed", number(summary.unattributed), ["wait for their employee"], {href: address(["unattributed"]), id: "tile-unattributed"}),
      tile("Since you opened this", live.arrived === null ? "…" : number(live.arrived), [live.arrived ? "new incidents" : "nothing new yet"], {state: live.arrived ? "arrived" : null, id: "tile-arrived"}),
    );
  }

  function drawDays(summary) {
    const link = (row) => {
      const begin = Date.parse(`${row.day}T00:00:00Z`) / 1000;
      return address(["incidents"], [["since", rfc3339(begin)], ["until", rfc3339(begin + DAY)]]);
    };
    const label = `Incidents by day and priority, ${summary.period.days} days; the table below has the numbers`;
    replace(
      days,
      h("h2", {id: "days-title"}, "By day"),
      dayChart(summary.by_day, label, (row) => {
        location.hash = link(row);
      }),
      h("details", {id: "days-table", open: !canDraw()}, h("summary", {}, "By day as a table"), dayTable(summary.by_day, link)),
    );
  }

  function drawCritical() {
    const {summary, yesterday, since, stored} = latest;
    const {critical: many} = lastTwo(summary, yesterday);
    const shown = newest?.incidents.slice(0, LATEST) ?? [];
    const isNew = (incident) => !seen.has(incident.id);
    const look = () => {
      isAsked = true;
      again();
    };
    const isCostly = many > 0 && stored > READ_UNASKED;
    const nothing = !newest
      ? `${number(many)} since yesterday. To list them, all ${number(stored)} incidents have to be read.`
      : newest.whole
        ? "No critical incident since yesterday."
        : "Too many to tell the newest ones from the others.";
    replace(
      critical,
      h("h2", {id: "critical-title"}, "Critical since yesterday"),
      shown.length ? incidentTable("Critical incidents, the newest first", shown, {isNew, short: true}) : h("p", {class: "empty"}, nothing),
      h(
        "div",
        {class: "bar-of-list"},
        many > shown.length && h("a", {href: address(["incidents"], [["priority", "critical"], ["since", since]])}, `All ${number(many)} since yesterday`),
        newest && newest.from > yesterday && shown.length > 0 && h("span", {class: "quiet"}, `These are of ${span(now() - newest.from)}.`),
        isCostly && newest && h("span", {class: "quiet"}, `As of ${moment(newest.at).slice(11)}.`),
        isCostly && h("button", {type: "button", id: "look-for-critical", onclick: look}, newest ? "Look again" : "Look for the newest"),
        shown.length > 0 && exportButtons("critical", "incident", () => shown),
      ),
    );
  }

  function drawTypes(summary) {
    const rows = TYPES.map((type) => ({type, incidents: Number(summary.by_type[type] ?? 0)})).sort((one, other) => other.incidents - one.incidents);
    const most = Math.max(...rows.map((each) => each.incidents), 1);
    const since = summary.period.since;
    replace(
      types,
      h("h2", {id: "types-title"}, "By type"),
      table(
        `Incidents by type in ${summary.period.days} days`,
        [
          {title: "Type", header: true, cell: (row) => h("a", {href: address(["incidents"], [["type", row.type], ["since", since]])}, row.type)},
          {title: "Incidents", number: true, class: "wide", cell: (row) => [bar(row.incidents / most, "plain"), number(row.incidents)]},
        ],
        rows,
      ),
    );
  }

  function drawSources() {
    const {health} = live;
    if (!health) {
      replace(sources);
      return;
    }
    const names = Object.keys(health.sources);
    const areFresh = names.every((name) => health.sources[name].state === "fresh");
    const ago = (text) => (text ? `${span(now() - Date.parse(text) / 1000)} ago` : "never");
    replace(
      sources,
      h("h2", {id: "sources-title"}, "Sources"),
      h("p", {class: "quiet"}, health.output ?? ""),
      h(
        "details",
        // Of two names, so that it unfolds when one goes stale, and stays folded if it is folded then.
        {id: areFresh ? "sources-fresh" : "sources-stale", open: !areFresh},
        h("summary", {}, sourcesInShort(health)),
        table(
          "Sources of the upstream",
          [
            {title: "Source", header: true, cell: (name) => name},
            {title: "State", cell: (name) => h("span", {class: `state ${health.sources[name].state === "fresh" ? "pass" : "warn"}`}, String(health.sources[name].state).replaceAll("_", " "))},
            {title: "Records", number: true, cell: (name) => (health.sources[name].records === null ? "–" : number(health.sources[name].records))},
            {title: "Taken", cell: (name) => ago(health.sources[name].last_success_at)},
            {title: "Last error", class: "details", cell: (name) => (health.sources[name].last_error ? `${health.sources[name].last_error.class}, ${ago(health.sources[name].last_error.at)}: ${health.sources[name].last_error.message}` : "none")},
          ],
          names,
        ),
      ),
    );
  }
}

/** The newest criticals since a moment, of which there are so `many`; none of those since `from` is missing. */
async function getNewestCriticals(since, many, signal) {
  const all = Math.max(DAY, now() - since);
  let [reach, tooFar, best] = [many > IN_ONE_ANSWER ? (all * IN_ONE_ANSWER) / many : all, null, null];
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const from = reach === all ? since : Math.floor(now() - reach);
    const query = [["priority", "critical"], ["since", rfc3339(from)], ["limit", "500"]];
    const page = await get("incidents", query, {signal});
    const incidents = flatten(page);
    if (page.has_more) {
      tooFar = reach;
    } else {
      best = {incidents, from, whole: true, at: now()};
      if (reach === all || incidents.length >= LATEST) {
        return best;
      }
    }
    // They do not come evenly: what reached too far, or not far enough, is halved or doubled.
    const shortest = best === null ? 0 : now() - best.from;
    reach = tooFar === null ? Math.min(all, reach * 4) : Math.max((shortest + tooFar) / 2, 1);
  }
  return best?.incidents.length ? best : {incidents: [], from: since, whole: false, at: now()};
}

/** Yesterday and today, and the criticals of both. */
function lastTwo(summary, yesterday) {
  const [before, today] = [0, 1].map((day) => {
    const name = rfc3339(yesterday + day * DAY).slice(0, 10);
    return summary.by_day.find((each) => each.day === name) ?? {incidents: 0, critical: 0};
  });
  return {before, today, critical: before.critical + today.critical};
}

function sourcesInShort(health) {
  const states = Object.values(health.sources).map((each) => each.state);
  return `${states.filter((each) => each === "fresh").length} of ${states.length} sources fresh`;
}

function tile(name, value, lines, {href, state, id} = {}) {
  return h(
    "div",
    {class: "tile card", "data-state": state, id},
    h("h2", {}, href ? h("a", {href}, name) : name),
    h("p", {class: "value"}, value),
    lines.filter(Boolean).map((line) => h("p", {class: "line"}, line)),
  );
}
