/** Building the page. What the upstream said becomes text and nothing else: there is no way to markup in here. */

/** An element; attributes of null, undefined and false are left out, `onclick` and the like are listeners. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

/** Put other content into an element; where the focus was and what was unfolded stays so. */
export function replace(container, ...children) {
  const focused = container.contains(document.activeElement) ? document.activeElement : null;
  const unfolded = new Map([...container.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
  container.replaceChildren(...nodes(children));
  for (const details of container.querySelectorAll("details[id]")) {
    details.open = unfolded.get(details.id) ?? details.open;
  }
  if (focused && focused !== container) {
    const same = (each) =>
      focused.id ? each.id === focused.id : focused.hasAttribute("href") && each.getAttribute("href") === focused.getAttribute("href");
    const twin = [...container.querySelectorAll(focused.localName)].find(same);
    twin?.focus({preventScroll: true});
  }
}

/** A table: `columns` have a `title`, a `cell(row)`, and may be `number` or the row's `header`. */
export function table(caption, columns, rows, {hideCaption = true} = {}) {
  const head = columns.map((column) => h("th", {scope: "col", class: column.number && "number"}, column.title));
  const line = (row) =>
    h(
      "tr",
      {},
      columns.map((column) =>
        h(
          column.header ? "th" : "td",
          {scope: column.header && "row", class: [column.number && "number", column.class].filter(Boolean).join(" ") || null},
          column.cell(row),
        ),
      ),
    );
  return h(
    "div",
    // Wide tables scroll by themselves, also by keyboard.
    {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
    h(
      "table",
      {},
      h("caption", {class: hideCaption && "unseen"}, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, rows.map(line)),
    ),
  );
}

/** A bar as long as its share (0 to 1) of the room; the number beside it says the same. */
export function bar(share, kind) {
  const filled = h("span", {class: `filled ${kind}`});
  filled.style.inlineSize = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("span", {class: "bar", "aria-hidden": "true"}, filled);
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((each) => each !== null && each !== undefined && each !== false)
    .map((each) => (each instanceof Node ? each : document.createTextNode(String(each))));
}
