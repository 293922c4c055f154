/** The page: which view is shown, and what keeps it up to date. */

import {ApiError, get, getHealth} from "./api.js";
import {h, replace} from "./dom.js";
import {employeesView} from "./employees.js";
import {address} from "./filters.js";
import {employeeView, incidentsView, unattributedView} from "./incidents.js";
import {overviewView} from "./overview.js";
import {count, number, span} from "./text.js";

const LONGEST_WAIT = 120;
const WORDS = {pass: "Fresh", warn: "Partly stale", fail: "Stale", unreachable: "No answer", unknown: "Asking …"};

/** What `/health` says, and what came of asking for it. */
const live = {
  health: null,
  /** Incidents that have come since the page was opened; null until that is known. */
  arrived: null,
  /** What the last look failed with. */
  trouble: null,
  askedAt: 0,
  state() {
    return live.trouble ? "unreachable" : (live.health?.status ?? "unknown");
  },
  word() {
    if (live.trouble?.status) {
      return `Error ${live.trouble.status}`;
    }
    const nothing = live.state() === "fail" && live.health.data_age_seconds === null;
    return nothing ? "No data yet" : (WORDS[live.state()] ?? "Unknown");
  },
  /** Goes on counting between two answers. */
  age() {
    const seconds = live.health?.data_age_seconds;
    return seconds === null || seconds === undefined ? "" : `${span(Number(seconds) + (performance.now() - live.askedAt) / 1000)} old`;
  },
};

const main = document.getElementById("main");
const notice = document.getElementById("notice");
let view = null;
let path = null;
let stop = new AbortController();
/** When what could not be shown is asked for again, on the clock of `performance`; null while all is shown. */
let retryAt = null;
let misses = 0;
let total = null;
let version = null;
let timer = 0;
let failures = 0;
let looks = 0;

/** Show what the address says. */
async function show({moved = true} = {}) {
  stop.abort();
  stop = new AbortController();
  const {signal} = stop;
  const [here, text = ""] = location.hash.replace(/^#/, "").split("?", 2);
  const isNew = here !== path || view === null;
  if (isNew) {
    path = here;
    view = makeView(here);
    main.replaceChildren(view.element);
    document.title = `${view.title} · Security incidents`;
    for (const link of document.querySelectorAll("nav a")) {
      const top = `/${here.split("/")[1] ?? ""}`;
      link.toggleAttribute("aria-current", false);
      if (link.getAttribute("href") === `#${top}`) {
        link.setAttribute("aria-current", "page");
      }
    }
    if (moved) {
      window.scrollTo(0, 0);
      view.element.querySelector("h1")?.focus({preventScroll: true});
    }
  }
  main.setAttribute("aria-busy", "true");
  try {
    const what = await view.update(new URLSearchParams(text), signal);
    retryAt = null;
    misses = 0;
    tell();
    if (moved && what) {
      say(what);
    }
  } catch (error) {
    if (signal.aborted) {
      return;
    }
    misses += 1;
    retryAt = performance.now() + 1000 * Math.min(LONGEST_WAIT, Math.max(error.retryAfter ?? 0, 2 ** misses));
    tell(error);
    if (!(error instanceof ApiError)) {
      throw error;
    }
  } finally {
    if (!signal.aborted) {
      main.removeAttribute("aria-busy");
    }
  }
}

function makeView(here) {
  let segments;
  try {
    segments = here.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    segments = ["?"];
  }
  const [first, second, third] = segments;
  if (first === undefined) {
    return overviewView(live, () => show({moved: false}));
  }
  if (first === "employees" && second !== undefined && third === undefined) {
    return employeeView(second);
  }
  const views = {incidents: incidentsView, employees: employeesView, unattributed: unattributedView};
  if (Object.hasOwn(views, first) && second === undefined) {
    return views[first]();
  }
  return {
    title: "Not here",
    element: h("div", {}, h("h1", {tabindex: "-1"}, "There is no such view"), h("p", {}, h("a", {href: "#/"}, "To the overview"))),
    update: async () => "",
  };
}

/** Above everything: what is wrong, or that there is more to see. */
function tell(error = null) {
  if (error) {
    const retry = h("button", {type: "button", id: "retry", onclick: () => show({moved: false})}, "Try again");
    const reference = error.requestId ? h("span", {class: "quiet"}, ` Request ${error.requestId}.`) : null;
    const waits = error.code === "no_data_yet" || error.code === "summaries_not_ready";
    const title = error.title || "Something went wrong in this page";
    replace(notice, h("p", {class: waits ? "wait" : "error"}, h("strong", {}, `${title}: `), error.message, ". ", reference, " ", retry));
  } else if (live.trouble && !live.trouble.status) {
    replace(notice, h("p", {class: "error"}, h("strong", {}, "The API does not answer. "), "What is shown is as of the last answer; asking goes on."));
  } else {
    notice.replaceChildren();
  }
}

/** Say it to those who listen. */
function say(text) {
  document.getElementById("live").textContent = text;
}

/** Ask for health, which is one small read; only when the snapshot has moved is anything else asked for again. */
async function look() {
  clearTimeout(timer);
  looks += 1;
  const mine = looks;
  let wait = LONGEST_WAIT;
  try {
    const health = await getHealth();
    live.askedAt = performance.now();
    failures = 0;
    const wasUnreachable = live.trouble !== null;
    live.trouble = null;
    live.health = health;
    wait = Math.min(30, Math.max(2, Number(health.thresholds.poll_interval_seconds) / 4));
    const identified = Number(health.total_identified_incidents);
    const before = live.arrived;
    total ??= identified;
    live.arrived = Math.max(0, identified - total);
    const seen = JSON.stringify([health.snapshot, String(health.unattributed_incidents)]);
    const moved = version !== null && version !== seen;
    version = seen;
    showFreshness();
    view?.refresh?.();
    if (wasUnreachable || (retryAt !== null && (moved || performance.now() >= retryAt))) {
      await show({moved: false});
    } else if (moved && view?.follows) {
      await show({moved: false});
    } else if (moved && view) {
      offer();
    }
    if (before !== null && live.arrived > before) {
      say(`${count(live.arrived, "new incident")} since you opened this page`);
    }
  } catch (error) {
    failures += 1;
    live.trouble = error;
    showFreshness();
    view?.refresh?.();
    if (retryAt === null) {
      tell(error.status ? error : null);
    }
    wait = Math.min(LONGEST_WAIT, Math.max(error.retryAfter ?? 0, 2 ** failures));
  }
  // Nobody looks at a hidden page; and of two looks at once the later one goes on.
  if (document.visibilityState === "visible" && mine === looks) {
    timer = setTimeout(look, wait * 1000);
  }
}

/** A list does not change under one's eyes: it says that there is more. */
function offer() {
  replace(
    notice,
    h(
      "p",
      {class: "news"},
      `The data has changed since this was loaded${live.arrived ? `: ${number(live.arrived)} new since you opened this page` : ""}. `,
      h("button", {type: "button", id: "reload", onclick: () => show({moved: false})}, "Show it"),
    ),
  );
}

function showFreshness() {
  const place = document.getElementById("freshness");
  if (place.dataset.state !== live.state() || document.getElementById("freshness-word").textContent !== live.word()) {
    if (place.dataset.state !== "unknown") {
      say(`The data: ${live.word()}`);
    }
    place.dataset.state = live.state();
    document.getElementById("freshness-word").textContent = live.word();
  }
  for (const age of document.querySelectorAll(".age")) {
    age.textContent = live.health ? live.age() : "";
  }
  document.getElementById("footer-version").textContent = live.health ? `Service ${live.health.version}.` : "";
}

async function showPlace() {
  try {
    const place = await get("console/place.json");
    document.getElementById("place").textContent = String(place.name);
  } catch {
    // A page without it says less and does as much.
  }
}

window.addEventListener("hashchange", () => show());
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.visibilityState === "visible") {
    look();
  }
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("jump").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = address(["employees", document.getElementById("jump-id").value]);
});
setInterval(showFreshness, 1000);
showPlace();
show({moved: false});
look();
