/** Pictures of numbers, by Chart.js where it was installed; each has a table beside it that says the same. */

import {h, table} from "./dom.js";
import {DAY, PRIORITIES, TYPES, count, moment, number} from "./text.js";

const SHAPES = {critical: "rectRot", high: "triangle", medium: "rect", low: "circle"};
const SIZES = {critical: 8, high: 7, medium: 6, low: 5};
const POINTS = 2_000;
const STEPS = [3600, 3 * 3600, 12 * 3600, DAY, 2 * DAY, 7 * DAY, 28 * DAY, 91 * DAY, 364 * DAY, 3640 * DAY];
const drawn = new Set();

// Its own colours are not those of the system's dark mode.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const each of drawn) {
    each.draw();
  }
});

/** Incidents by day, stacked by priority; `open(day)` is called with the row that is clicked. */
export function dayChart(days, label, open) {
  const rows = [...PRIORITIES].reverse();
  return picture(label, "days", (colors) => ({
    type: "bar",
    data: {
      labels: days.map((each) => each.day),
      datasets: rows.map((priority) => ({
        label: priority,
        // Nothing is no bar, not one of the least length.
        data: days.map((each) => Number(each[priority]) || null),
        backgroundColor: colors[priority],
        stack: "all",
        maxBarThickness: 36,
        // A day with one critical incident among hundreds still shows it.
        minBarLength: priority === "critical" ? 2 : 0,
      })),
    },
    options: {
      ...common(colors),
      onClick: (_, elements) => elements.length && open(days[elements[0].index]),
      interaction: {mode: "index", intersect: false},
      scales: {
        x: {stacked: true, grid: {display: false}, ticks: {maxRotation: 0, autoSkipPadding: 16, color: colors.muted, callback: (index) => days[index].day.slice(5)}},
        y: {stacked: true, beginAtZero: true, border: {display: false}, grid: {color: colors.line}, ticks: {precision: 0, color: colors.muted, maxTicksLimit: 6}},
      },
    },
  }));
}

/** The table that says what `dayChart` shows, newest first. */
export function dayTable(days, link) {
  return table(
    "Incidents by day",
    [
      {title: "Day", header: true, cell: (row) => h("a", {href: link(row)}, row.day)},
      ...PRIORITIES.map((priority) => ({title: capital(priority), number: true, cell: (row) => number(row[priority])})),
      {title: "All", number: true, cell: (row) => number(row.incidents)},
    ],
    [...days].reverse(),
  );
}

/** Incidents over time, a row a type, a shape a priority. */
export function timeline(incidents, label) {
  const shown = incidents.slice(0, POINTS);
  const present = TYPES.filter((type) => shown.some((each) => each.type === type));
  return picture(label, "timeline", (colors) => ({
    type: "scatter",
    data: {
      datasets: PRIORITIES.map((priority) => ({
        label: priority,
        data: shown.filter((each) => each.priority === priority).map((each) => ({x: Number(each.timestamp), y: each.type})),
        backgroundColor: colors[priority],
        borderColor: colors.card,
        borderWidth: 1,
        pointStyle: SHAPES[priority],
        radius: SIZES[priority],
        hoverRadius: SIZES[priority] + 2,
      })).filter((each) => each.data.length),
    },
    options: {
      ...common(colors, (item) => `${item.dataset.label}, ${item.raw.y}, ${moment(item.raw.x)}`),
      scales: {
        x: {
          type: "linear",
          grace: "3%",
          grid: {color: colors.line},
          ticks: {maxRotation: 0, color: colors.muted, autoSkipPadding: 16, callback: (value) => moment(value).slice(0, value % DAY ? 16 : 10)},
          // Whole hours, days or weeks instead of round numbers of seconds.
          afterBuildTicks: (axis) => {
            const step = STEPS.find((each) => (axis.max - axis.min) / each <= 8) ?? STEPS.at(-1);
            const first = Math.ceil(axis.min / step);
            const many = Math.max(0, Math.min(12, Math.floor(axis.max / step) - first + 1));
            axis.ticks = Array.from({length: many}, (_, index) => ({value: (first + index) * step}));
          },
        },
        y: {type: "category", labels: present, offset: true, grid: {color: colors.line}, ticks: {color: colors.text}},
      },
    },
  }));
}

/** Whether pictures can be drawn. */
export function canDraw() {
  return typeof globalThis.Chart === "function";
}

function picture(label, kind, configure) {
  if (!canDraw()) {
    return h("p", {class: "quiet"}, "Charts were not installed here (npm was missing): the tables say the same.");
  }
  const canvas = h("canvas", {role: "img", "aria-label": label});
  const holder = h("div", {class: `picture ${kind}`}, canvas);
  const self = {
    chart: null,
    draw() {
      self.chart?.destroy();
      self.chart = null;
      if (!holder.isConnected) {
        drawn.delete(self);
        return;
      }
      self.chart = new globalThis.Chart(canvas, configure(readColors()));
    },
  };
  drawn.add(self);
  // It measures its room, so it has to be in the page first.
  requestAnimationFrame(() => {
    for (const each of [...drawn]) {
      if (each === self || !each.holder().isConnected) {
        each.draw();
      }
    }
  });
  self.holder = () => holder;
  return holder;
}

function common(colors, describe) {
  return {
    animation: false,
    maintainAspectRatio: false,
    plugins: {
      legend: {align: "end", reverse: !describe, labels: {color: colors.text, usePointStyle: true, boxHeight: 8, padding: 14}},
      tooltip: {
        usePointStyle: true,
        reverse: true,
        callbacks: describe ? {label: describe} : {footer: (items) => count(items.reduce((sum, each) => sum + (each.parsed.y ?? 0), 0), "incident")},
      },
    },
  };
}

function readColors() {
  const style = getComputedStyle(document.documentElement);
  const names = [...PRIORITIES, "text", "muted", "line", "card"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}
