// Lines and bars, in SVG and HTML.

import { h, svg } from "./dom.js";
import { axis, figure, steady, steadySigned } from "./numbers.js";
import { ticks } from "./scales.js";

/**
 * @typedef {{name: string, xs: ArrayLike<number>, ys: ArrayLike<number>, tone?: string}} Series
 */

/**
 * Return a chart of lines over steps. What is not finite is no point of a line, but a mark at the top.
 * @param {Series[]} series
 * @param {{title: string, width: number, height: number, mark?: number, from?: number, to?: number, zero?: boolean,
 *   bars?: {at: number, words: string}[], format?: (value: number) => string, digits?: number, log?: boolean}} how
 *   `log`: on a logarithmic axis, if all are positive and some far larger than others
 */
export function lineChart(series, how) {
  const { width, height } = how;
  const pad = { left: 46, right: 8, top: 8, bottom: 16 };
  let [low, high, first, last] = [Infinity, -Infinity, how.from ?? Infinity, how.to ?? -Infinity];
  for (const { xs, ys } of series) {
    for (let i = 0; i < ys.length; i++) {
      if (how.from === undefined) first = Math.min(first, xs[i]);
      if (how.to === undefined) last = Math.max(last, xs[i]);
      if (!Number.isFinite(ys[i])) continue;
      low = Math.min(low, ys[i]);
      high = Math.max(high, ys[i]);
    }
  }
  if (!(high >= low)) [low, high] = [0, 1];
  if (how.zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  if (high === low) [low, high] = [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  if (!(last > first)) [first, last] = [first - 1, first + 1];
  const isLog = Boolean(how.log) && low > 0 && high / low > 15;
  const bend = (/** @type {number} */ y) => (isLog ? Math.log10(y) : y);
  const X = (/** @type {number} */ x) => pad.left + ((x - first) / (last - first)) * (width - pad.left - pad.right);
  const Y = (/** @type {number} */ y) => height - pad.bottom - ((bend(y) - bend(low)) / (bend(high) - bend(low))) * (height - pad.top - pad.bottom);
  const parts = [];
  const levels = isLog ? powers(low, high, Math.max(2, Math.floor(height / 24))) : ticks(low, high, Math.max(2, Math.floor(height / 34)));
  const digits = new Set(levels.map((y) => figure(y))).size < levels.length ? 5 : 3;
  const format = how.format ?? ((/** @type {number} */ y) => axis(y, digits));
  for (const y of levels) {
    parts.push(svg("line", { x1: pad.left, x2: width - pad.right, y1: Y(y), y2: Y(y), class: y === 0 ? "nw-axis" : "nw-grid" }));
    parts.push(svg("text", { x: pad.left - 5, y: Y(y) + 3.5, class: "nw-tick", "text-anchor": "end" }, format(y)));
  }
  parts.push(svg("text", { x: pad.left, y: height - 3, class: "nw-tick" }, figure(first, how.digits ?? 6)));
  parts.push(svg("text", { x: width - pad.right, y: height - 3, class: "nw-tick", "text-anchor": "end" }, figure(last, how.digits ?? 6)));
  for (const bar of how.bars ?? []) {
    parts.push(svg("g", {}, svg("line", { x1: X(bar.at), x2: X(bar.at), y1: pad.top, y2: height - pad.bottom, class: "nw-bar-mark" }), svg("title", {}, bar.words)));
  }
  for (const { name, xs, ys, tone } of series) {
    let path = "";
    let pen = false;
    let marked = -Infinity; // where the last mark stands: of marks one above the other only one is seen
    for (let i = 0; i < ys.length; i++) {
      if (!Number.isFinite(ys[i])) {
        pen = false;
        if (X(xs[i]) - marked < 5) continue;
        marked = X(xs[i]);
        parts.push(svg("text", { x: X(xs[i]), y: pad.top + 6, class: "nw-odd", "text-anchor": "middle" }, Number.isNaN(ys[i]) ? "×" : ys[i] < 0 ? "−∞" : "∞"));
        continue;
      }
      path += `${pen ? "L" : "M"}${X(xs[i]).toFixed(1)},${Y(ys[i]).toFixed(1)}`;
      pen = true;
    }
    parts.push(svg("path", { d: path || "M0,0", class: `nw-line ${tone ?? ""}` }, svg("title", {}, name)));
    if (ys.length === 1 && Number.isFinite(ys[0])) parts.push(svg("circle", { cx: X(xs[0]), cy: Y(ys[0]), r: 3, class: "nw-point" }));
  }
  if (how.mark !== undefined && how.mark >= first && how.mark <= last) {
    parts.push(svg("line", { x1: X(how.mark), x2: X(how.mark), y1: pad.top, y2: height - pad.bottom, class: "nw-now" }));
  }
  return svg("svg", { class: "nw-chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": how.title }, ...parts);
}

/**
 * Return powers of ten between two positive numbers, and where there are fewer than two, also 2 and 5 times them.
 * @param {number} low
 * @param {number} high
 * @param {number} most so many at most
 */
function powers(low, high, most) {
  const all = [];
  for (let k = Math.floor(Math.log10(low)); 10 ** k <= high; k++) for (const f of [1, 2, 5]) if (f * 10 ** k >= low && f * 10 ** k <= high) all.push(f * 10 ** k);
  const tens = all.filter((value) => Number.isInteger(Math.round(1e6 * Math.log10(value)) / 1e6));
  const shown = tens.length >= 2 ? tens : all;
  const every = Math.ceil(shown.length / most);
  return shown.filter((_, i) => i % every === 0);
}

/**
 * Return an activation function's curve with the point where the neuron is.
 * @param {(z: number) => number} f
 * @param {number} z
 * @param {{title: string, width: number, height: number, threshold?: string}} how `threshold` names the place z = 0
 */
export function curveChart(f, z, how) {
  const reach = Math.max(4, Number.isFinite(z) ? Math.abs(z) * 1.25 : 4);
  const xs = Array.from({ length: 121 }, (_, i) => -reach + (2 * reach * i) / 120);
  const ys = xs.map(f);
  const chart = lineChart([{ name: how.title, xs, ys }], { ...how, from: -reach, to: reach, zero: true, digits: 2 });
  if (how.threshold) {
    const middle = 46 + (how.width - 54) / 2;
    chart.append(svg("line", { x1: middle, x2: middle, y1: 16, y2: how.height - 16, class: "nw-bar-mark" }), svg("text", { x: middle, y: 11, class: "nw-tick", "text-anchor": "middle" }, how.threshold),
      svg("text", { x: middle, y: how.height - 3, class: "nw-tick", "text-anchor": "middle" }, "z = 0"));
  }
  if (Number.isFinite(z)) {
    const [low, high] = [Math.min(0, ...ys), Math.max(0, ...ys)];
    const x = 46 + ((z + reach) / (2 * reach)) * (how.width - 54);
    const y = how.height - 16 - ((f(z) - low) / (high - low || 1)) * (how.height - 24);
    chart.append(svg("line", { x1: x, x2: x, y1: y, y2: how.height - 16, class: "nw-drop" }));
    chart.append(svg("circle", { cx: x, cy: y, r: 5, class: "nw-point" }));
  }
  return chart;
}

/**
 * Return a bar of a signed value from a middle line, with its sign.
 * @param {number} value
 * @param {number} limit
 */
export function signedBar(value, limit) {
  const share = Number.isFinite(value) && limit > 0 ? Math.min(1, Math.abs(value) / limit) * 50 : 50;
  const fill = h("span", { class: value < 0 ? "nw-fill nw-negative" : value > 0 ? "nw-fill nw-positive" : "nw-fill nw-oddfill" });
  fill.style.width = `${share}%`;
  fill.style.left = value < 0 ? `${50 - share}%` : "50%";
  return h("span", { class: "nw-bar", "aria-hidden": "true" }, fill);
}

/**
 * Return named bars, from a middle line or, where none is negative, from the left.
 * @param {{name: string | Node, value: number, words?: string, strong?: boolean}[]} rows
 * @param {number} [limit]
 */
export function barList(rows, limit) {
  const largest = limit ?? rows.reduce((most, row) => Math.max(most, Number.isFinite(row.value) ? Math.abs(row.value) : 0), 0);
  const oneSided = rows.every((row) => !(row.value < 0));
  const list = h(
    "ul", { class: "nw-bars" },
    ...rows.map((row) => {
      let bar;
      if (oneSided) {
        const fill = h("span", { class: "nw-fill nw-positive" });
        fill.style.width = `${largest > 0 ? Math.min(100, (100 * row.value) / largest) : 0}%`;
        fill.style.left = "0";
        bar = h("span", { class: "nw-bar", "aria-hidden": "true" }, fill);
      } else bar = signedBar(row.value, largest);
      return h("li", { class: row.strong ? "nw-strong" : null }, h("span", { class: "nw-barname" }, row.name), bar,
        h("span", { class: "nw-num" }, row.words ?? (oneSided ? steady(row.value) : steadySigned(row.value))));
    }),
  );
  // As wide as the longest name and the longest number ask for, so that bars begin beside their names.
  const longest = (/** @type {string} */ part) => Math.max(...[...list.querySelectorAll(part)].map((one) => (one.textContent ?? "").length), 1);
  list.style.setProperty("--name", `${Math.min(16, 0.62 * longest(".nw-barname") + 0.6)}em`);
  list.style.setProperty("--num", `${Math.max(3.2, 0.58 * longest(".nw-num") + 0.4)}em`);
  return list;
}

/**
 * Return a bar of a signed value with its number, for a cell of a table.
 * @param {number} value
 * @param {number} limit
 */
export function barCell(value, limit) {
  return h("span", { class: "nw-cellbar" }, signedBar(value, limit), h("span", { class: "nw-num" }, steadySigned(value)));
}
