// SPDX-License-Identifier: Apache-2.0
// Elements out of data. Text from the chain is only ever set as text.

/** Make an element: attributes (`on*` are listeners, `class` may be a list), then children: nodes, text or nothing. */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = Array.isArray(value) ? value.filter(Boolean).join(" ") : value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  append(made, children);
  return made;
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Put children in the place of what is there; focus and opened details stay with the elements of the same `data-key`. */
export function replace(parent, ...children) {
  const active = document.activeElement;
  const key = parent.contains(active) ? active.dataset.key : undefined;
  const opened = [...parent.querySelectorAll("details[open] > summary[data-key]")].map((one) => one.dataset.key);
  parent.replaceChildren();
  append(parent, children);
  for (const one of parent.querySelectorAll("details > summary[data-key]")) {
    if (opened.includes(one.dataset.key)) one.parentElement.open = true;
  }
  if (key !== undefined) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/**
 * A table. Columns are { head, cell(row), right?, sort?, wide?, brief?, hint? }; `sort` names the key that a click asks
 * for, `wide` leaves the column out on a narrow screen. On a phone each row becomes a card, of which a `brief` first
 * column takes half a line.
 */
export function table({ caption, columns, rows, empty, sorted, onsort, key, rowClass, hideCaption }) {
  const head = columns.map((column) => heading(column, sorted, onsort));
  const body = rows.map((row) =>
    h("tr", { class: rowClass?.(row), "data-row": key?.(row) },
      columns.map((column, k) => {
        const attributes = { class: [column.right && "number", column.wide && "wide", column.brief && "brief"], "data-label": column.head };
        return k === 0 ? h("th", { ...attributes, scope: "row" }, column.cell(row)) : h("td", attributes, column.cell(row));
      }),
    ));
  const none = rows.length === 0 && h("tr", { class: "empty" }, h("td", { colspan: columns.length }, empty ?? "nothing"));
  return h("div", { class: "table" },
    h("table", {},
      h("caption", { class: hideCaption && "hidden" }, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, body, none)));
}

function heading(column, sorted, onsort) {
  const attributes = { scope: "col", class: [column.right && "number", column.wide && "wide"], title: column.hint };
  if (!column.sort || !onsort) return h("th", attributes, column.head);
  const mine = sorted?.key === column.sort;
  const direction = mine ? (sorted.descending ? "descending" : "ascending") : "none";
  const arrow = mine ? (sorted.descending ? " ↓" : " ↑") : "";
  const button = h("button", { type: "button", class: "sort", "data-key": `sort ${column.sort}`, onclick: () => onsort(column.sort) },
    column.head, h("span", { "aria-hidden": "true" }, arrow));
  return h("th", { ...attributes, "aria-sort": direction }, button);
}

/** A section with a heading, and to its right what belongs to it. */
export function panel(title, aside, ...children) {
  return h("section", { class: "panel" }, h("div", { class: "title" }, h("h2", {}, title), aside), children);
}

/** A short word in a box: kind is ok, warn, bad, info or nothing. */
export function pill(text, kind = "", title = null) {
  return h("span", { class: ["pill", kind], title }, text);
}

/** Pairs of term and value. */
export function facts(pairs, name = "pairs") {
  return h("dl", { class: name }, pairs.filter(Boolean).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}
