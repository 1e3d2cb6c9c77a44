// Elements, made of text only: no string is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Return an element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `class`, `on` (listeners by name), `signal` (ends them), `value` and the
 *   like; null and false leave one out
 * @param {...(Node | string | number | null | undefined | false)} children strings become text
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/**
 * Return an element of SVG.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {any}
 */
export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @param {any} element
 * @param {Record<string, any>} attributes
 * @param {any[]} children
 */
function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false || name === "signal") continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) {
        element.addEventListener(event, listener, attributes.signal ? { signal: attributes.signal } : undefined);
      }
    } else if (name === "value" || name === "checked" || name === "disabled" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/**
 * Put other children into an element.
 * @param {Element} element
 * @param {...(Node | string | null | undefined | false)} children
 */
export function refill(element, ...children) {
  const kept = children.filter((child) => child !== null && child !== undefined && child !== false);
  element.replaceChildren(.../** @type {(Node | string)[]} */ (kept));
}

/**
 * Return a table.
 * @param {string} caption
 * @param {string[]} headings
 * @param {(string | number | Node)[][]} rows the first cell of each is its heading
 */
export function dataTable(caption, headings, rows) {
  return h(
    "div", { class: "nw-scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: "nw-table" },
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...headings.map((words) => h("th", { scope: "col" }, words)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell, i) => h(i ? "td" : "th", i ? {} : { scope: "row" }, cell))))),
    ),
  );
}

/**
 * Return a closed part that is filled when it is first opened.
 * @param {string} summary
 * @param {() => Node} make
 */
export function openable(summary, make) {
  const element = h("details", { class: "nw-details" }, h("summary", {}, summary));
  element.addEventListener("toggle", () => {
    if (element.open && element.childElementCount === 1) element.append(make());
  });
  return element;
}

/**
 * Let a part of the page be filled anew, and leave what the user had there: the focus, and parts that stood open.
 * @param {HTMLElement} root
 * @param {() => void} fill
 */
export function refilled(root, fill) {
  const held = /** @type {HTMLElement | null} */ (root.contains(document.activeElement) ? document.activeElement : null);
  const labels = (/** @type {Element} */ one) => one.getAttribute("data-key") ?? one.getAttribute("aria-label") ?? one.textContent ?? "";
  const focusable = () => /** @type {HTMLElement[]} */ ([...root.querySelectorAll("button, input, select, summary, a[href], [tabindex]")]);
  const before = held ? focusable() : [];
  const [place, name, tag] = held ? [before.indexOf(held), labels(held), held.tagName] : [-1, "", ""];
  const open = new Set([...root.querySelectorAll("details[open] > summary")].map((one) => one.textContent));
  fill();
  for (const details of root.querySelectorAll("details")) {
    if (!details.open && open.has(details.querySelector("summary")?.textContent ?? "")) details.open = true;
  }
  if (!held || held.isConnected) return;
  const after = focusable();
  const next = after.find((one) => one.tagName === tag && labels(one) === name) ?? (after[place]?.tagName === tag ? after[place] : null) ?? root.querySelector("h2");
  /** @type {HTMLElement | null} */ (next)?.focus({ preventScroll: true });
}

/**
 * Copy a text, also where the page may not ask for the clipboard; tell whether it could be done.
 * @param {string} text
 * @param {Element} beside where it is for a moment, so that it can be chosen
 */
export function copyText(text, beside) {
  const area = h("textarea", { class: "nw-hidden", readonly: true, "aria-hidden": "true", tabindex: "-1", value: text });
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  beside.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  return isDone;
}
