// How the weights, gradients and activations of a layer were spread over the training, and how large its gradients were.

import { lineChart } from "./charts.js";
import { unpack } from "./decode.js";
import { dataTable, h, openable, svg } from "./dom.js";
import { drawnLayers } from "./layout.js";
import { figure, visible, whole } from "./numbers.js";
import { sharpCanvas } from "./pictures.js";
import { css, mix } from "./scales.js";

const NAMES = new Map([["W", "weights w"], ["dW", "gradients dL/dw"], ["z", "z"], ["a", "activations a"]]);
const [WIDE, TALL, BAND] = [270, 116, 13];
/** Of more layers their gradients are cells, not lines. */
const MOST_LINES = 6;
const CLASSES = 64;

/**
 * @typedef {{step: number, low: number, high: number, from: number, to: number, isTrue: boolean, nan: number, infinite: number,
 *   either: number, counts: Uint8Array}} Column how values were spread at a step: `low` and `high` are least and largest,
 *   of all values where `isTrue`, else of the sample that the classes, `from` to `to`, are of
 */

export class LayerSpread {
  /** @param {import("./model.js").Model} model @param {{palette: any, dark: boolean, still: boolean}} theme */
  constructor(model, theme) {
    this.model = model;
    this.theme = theme;
    const { histograms } = model.payload;
    this.known = histograms && histograms.counts ? { ...histograms, counts: unpack(histograms.counts), ranges: unpack(histograms.ranges), ends: unpack(histograms.ends), odd: unpack(histograms.odd) } : null;
  }

  /**
   * Return how something of a layer was spread at each stored step.
   * @param {string} name of the layer
   * @param {string} what `W`, `dW`, `z` or `a`
   * @returns {Column[]}
   */
  columns(name, what) {
    if (!this.known) return [];
    const { layers, what: all, steps, counts, ranges, ends, odd } = this.known;
    const [at, w] = [layers.indexOf(name), all.indexOf(what)];
    if (at < 0 || w < 0) return [];
    return steps.map((/** @type {number} */ step, /** @type {number} */ s) => {
      const k = (s * all.length + w) * layers.length + at;
      const isTrue = Number.isFinite(ends[2 * k]);
      const [nan, infinite] = odd[2 * k] < 0 ? [0, 0] : [odd[2 * k], odd[2 * k + 1]];
      return {
        step, from: ranges[2 * k], to: ranges[2 * k + 1], isTrue,
        low: isTrue ? ends[2 * k] : ranges[2 * k], high: isTrue ? ends[2 * k + 1] : ranges[2 * k + 1],
        nan, infinite, either: odd[2 * k] < 0 ? odd[2 * k + 1] : 0, counts: counts.subarray(k * CLASSES, (k + 1) * CLASSES),
      };
    });
  }

  /** @param {import("./forward.js").Layer} layer @param {number} step that is marked */
  view(layer, step) {
    if (!this.known) return null;
    /** @type {{what: string, columns: Column[]}[]} */
    const charts = this.known.what.flatMap((/** @type {string} */ what) => {
      const columns = this.columns(layer.name, what).filter((one) => one.step > 0 || Number.isFinite(one.from) || one.nan + one.infinite + one.either > 0);
      const isSeen = columns.some((one) => Number.isFinite(one.low) || one.nan + one.infinite + one.either > 0);
      return isSeen ? [{ what, columns }] : [];
    });
    if (!charts.length) return null;
    const { steps, of } = this.known;
    const anyOdd = charts.some(({ columns }) => columns.some((one) => one.nan + one.infinite + one.either > 0));
    const sampled = charts.filter(({ columns }) => columns.some((one) => !one.isTrue && Number.isFinite(one.low))).map(({ what }) => NAMES.get(what) ?? what);
    return h("section", {}, h("h3", {}, "How its values were spread, over the training"),
      h("div", { class: "nw-charts" }, ...charts.map(({ what, columns }) => this.chart(what, columns, step))),
      h("p", { class: "nw-note" }, `Each column is a recorded step, in order (${whole(steps[0])} to ${whole(steps[steps.length - 1])}: ${whole(steps.length)}${steps.length < of ? ` of ${whole(of)}` : ""}; spreads are recorded at some steps only); the darker, the more values; ticks are least and largest.`,
        sampled.length ? ` Those of ${sampled.join(" and ")} are of a sample of 16,384 where the layer has more values.` : "", anyOdd ? " At the top: × NaN, ∞ infinite, ⊗ one of them, which the recording counts together." : ""),
      openable("As a table", () => this.table(layer, charts)));
  }

  /** @param {string} what @param {Column[]} columns @param {number} step */
  chart(what, columns, step) {
    const finite = columns.filter((one) => Number.isFinite(one.low) && Number.isFinite(one.high));
    let low = finite.reduce((least, one) => Math.min(least, one.low), Infinity);
    let high = finite.reduce((most, one) => Math.max(most, one.high), -Infinity);
    const words = `${NAMES.get(what) ?? what}, ${finite.length ? `from ${figure(low)} to ${figure(high)}` : "none finite"}`;
    if (!(high > low)) [low, high] = finite.length ? [low - (Math.abs(low) || 1), high + (Math.abs(high) || 1)] : [-1, 1];
    const canvas = sharpCanvas(WIDE, TALL + BAND);
    const { context } = canvas;
    const ground = /** @type {import("./scales.js").Colour} */ (this.theme.dark ? [24, 27, 32] : [250, 251, 252]);
    const ink = css(this.theme.dark ? [235, 238, 242] : [28, 33, 40]);
    const Y = (/** @type {number} */ value) => BAND + TALL - ((value - low) / (high - low)) * TALL;
    const wide = WIDE / columns.length;
    let marked = 0;
    columns.forEach((one, s) => {
      const x = s * wide;
      if (Math.abs(one.step - step) < Math.abs(columns[marked].step - step)) marked = s;
      const size = one.to - one.from;
      for (let k = 0; k < CLASSES; k++) {
        const share = one.counts[k] / 255;
        if (!share) continue;
        const [y0, y1] = [Y(one.from + (size * k) / CLASSES), Y(one.from + (size * (k + 1)) / CLASSES)];
        context.fillStyle = css(mix(ground, this.theme.palette.positive, 0.12 + 0.88 * share));
        context.fillRect(x, Math.min(y0, y1), wide + 0.4, Math.max(1, Math.abs(y1 - y0)));
      }
      context.fillStyle = ink;
      for (const end of [one.low, one.high]) if (Number.isFinite(end)) context.fillRect(x, Y(end) - 0.5, wide + 0.2, 1);
      const mark = one.either ? "⊗" : one.nan ? "×" : one.infinite ? "∞" : "";
      if (mark) {
        context.font = "bold 11px system-ui, sans-serif";
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillText(mark, Math.max(5, Math.min(WIDE - 5, x + wide / 2)), BAND / 2);
        if (one.nan && one.infinite) context.fillText("∞", Math.max(5, Math.min(WIDE - 5, x + wide / 2 + 8)), BAND / 2);
      }
    });
    context.strokeStyle = css(this.theme.dark ? [165, 173, 184] : [92, 101, 112]);
    context.lineWidth = 1;
    if (low < 0 && high > 0) {
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(0, Y(0));
      context.lineTo(WIDE, Y(0));
      context.stroke();
      context.setLineDash([]);
    }
    context.strokeStyle = ink;
    context.strokeRect(marked * wide, BAND, Math.max(wide, 2), TALL - 0.5);
    canvas.element.setAttribute("role", "img");
    const odd = columns.filter((one) => one.nan + one.infinite + one.either > 0);
    canvas.element.setAttribute("aria-label", `${words}, over ${columns.length} steps${odd.length ? `; not finite at ${odd.length} of them, first at step ${odd[0].step}` : ""}`);
    return h("figure", {}, canvas.element, h("figcaption", {}, words, odd.length ? h("b", {}, `; not finite from step ${whole(odd[0].step)}`) : ""));
  }

  /** @param {import("./forward.js").Layer} layer @param {{what: string, columns: Column[]}[]} charts */
  table(layer, charts) {
    const odd = (/** @type {Column} */ one) => (one.either ? `${whole(one.either)} NaN or infinite` : [one.nan ? `${whole(one.nan)} NaN` : "", one.infinite ? `${whole(one.infinite)} infinite` : ""].filter(Boolean).join(", "));
    const steps = [...new Set(charts.flatMap(({ columns }) => columns.map((one) => one.step)))].sort((p, q) => p - q);
    const cells = (/** @type {Column[]} */ columns, /** @type {number} */ step) => {
      const one = columns.find((column) => column.step === step);
      return one ? [figure(one.low), figure(one.high), odd(one)] : ["", "", ""];
    };
    return dataTable(`Least and largest values of ${visible(layer.name, 60)}, and how many are not finite`, ["step", ...charts.flatMap(({ what }) => [`${what} least`, `${what} largest`, `${what} not finite`])],
      steps.map((step) => [whole(step), ...charts.flatMap(({ columns }) => cells(columns, step))]));
  }
}

/**
 * Return how large the gradients of each layer were over the training: of all neurons of each.
 * @param {import("./model.js").Model} model
 * @param {number} index of the layer that is looked at
 * @param {number} step that is marked
 * @param {{width: number, theme: {palette: any, dark: boolean}, go: (index: number) => void, signal: AbortSignal}} how `go` to a layer
 */
export function gradientFlow(model, index, step, how) {
  const series = drawnLayers(model.net).flatMap(({ layer, index: at }) => {
    const found = model.sumOf(at, "grad_norm");
    if (!found) return [];
    const first = found.steps[0] === 0 && Number.isNaN(found.values[0]) ? 1 : 0;
    const [xs, norms] = [found.steps.slice(first), found.values.slice(first)];
    // A gradient of exactly 0 has no logarithm: it is left out of the line, and said.
    return [{ name: visible(layer.name, 60), at, xs, norms, ys: norms.map((value) => (value === 0 ? NaN : Math.log10(value))), zeros: norms.filter((value) => value === 0).length }];
  }).filter(({ norms }) => norms.some((value) => !Number.isNaN(value)));
  if (!series.length || series[0].xs.length < 2) return null;
  const zeros = series.filter((one) => one.zeros);
  const said = zeros.length ? ` A gradient of exactly 0 has no logarithm: ${zeros.slice(0, 4).map((one) => `${one.name} at ${whole(one.zeros)} steps`).join(", ")}.` : "";
  return h("section", {}, h("h3", {}, "Gradient flow: how much each layer is told to change"),
    ...(series.length > MOST_LINES ? flowMap(series, index, step, { ...how, said }) : flowLines(series, index, step, { ...how, said })),
    openable("As a table", () => dataTable("Gradient norm of each layer", ["step", ...series.map((one) => one.name)], series[0].xs.map((at, k) => [whole(at), ...series.map((one) => figure(one.norms[k]))]))));
}

/**
 * @typedef {{name: string, at: number, xs: number[], norms: number[], ys: number[], zeros: number}} Flow the gradient norm of a
 *   layer over the steps, and its logarithm
 * @typedef {{width: number, theme: {palette: any, dark: boolean}, go: (index: number) => void, signal: AbortSignal, said: string}} How
 */

/** A line for each layer. @param {Flow[]} series @param {number} index @param {number} step @param {How} how */
function flowLines(series, index, step, how) {
  const shown = series.map((one, i) => ({ name: one.name, xs: one.xs.filter((_, k) => one.norms[k] !== 0), ys: one.ys.filter((_, k) => one.norms[k] !== 0), tone: one.at === index ? "nw-strongline" : `nw-tone${i % 4}` }));
  return [
    lineChart(shown, { title: "Gradient norm of each layer over the steps, logarithmic", width: Math.max(280, Math.min(640, how.width)), height: 170, mark: step, from: series[0].xs[0], to: series[0].xs[series[0].xs.length - 1], format: (value) => figure(10 ** value, 2) }),
    h("p", { class: "nw-note" }, "‖dL/dW‖ on a logarithmic scale; the thick line is this layer; × is NaN, ∞ infinite. ", ...shown.flatMap((one, i) => [h("span", { class: "nw-nobreak" }, svg("svg", { class: "nw-key", width: 26, height: 8, viewBox: "0 0 26 8", "aria-hidden": "true" }, svg("path", { d: "M0,4L26,4", class: `nw-line ${one.tone}` })), ` ${one.name}${i < shown.length - 1 ? "," : "."}`), " "]), how.said)];
}

/** A row of cells for each layer, the first at the top. @param {Flow[]} series @param {number} index @param {number} step @param {How} how */
function flowMap(series, index, step, how) {
  const { dark, palette } = how.theme;
  const label = how.width < 560 ? 110 : 220;
  const [line, wide] = [Math.max(4, Math.min(15, 620 / series.length)), Math.max(120, Math.min(640, how.width - label - 8))];
  const canvas = sharpCanvas(label + wide, series.length * line);
  const { context } = canvas;
  const { xs } = series[0];
  const finite = series.flatMap((one) => one.ys.filter((value) => Number.isFinite(value)));
  const low = finite.reduce((least, value) => Math.min(least, value), Infinity);
  const high = finite.reduce((most, value) => Math.max(most, value), -Infinity);
  const cell = wide / xs.length;
  let marked = 0;
  xs.forEach((at, k) => { if (Math.abs(at - step) < Math.abs(xs[marked] - step)) marked = k; });
  context.font = `${Math.min(11, line)}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  series.forEach((one, row) => {
    if (line >= 9 || one.at === index) {
      context.fillStyle = css(dark ? [200, 207, 216] : [60, 68, 78]);
      const name = one.name.length * 6 > label ? `…${one.name.slice(-Math.floor(label / 6))}` : one.name;
      context.fillText(`${one.at === index ? "▸" : ""}${name}`, 0, (row + 0.5) * line);
    }
    one.norms.forEach((value, k) => {
      const [x, y] = [label + k * cell, row * line];
      const t = high > low ? (one.ys[k] - low) / (high - low) : 1;
      context.fillStyle = value === 0 ? css(palette.negative) : Number.isFinite(value) ? css(mix(palette.zero, palette.positive, t)) : css(palette.odd);
      context.fillRect(x, y, cell + 0.3, line - (line > 6 ? 1 : 0));
      if (!Number.isFinite(value) && cell > 5 && line > 7) {
        context.fillStyle = css(dark ? [0, 0, 0] : [255, 255, 255]);
        context.fillText(Number.isNaN(value) ? "×" : "∞", x + cell / 2 - 3, y + line / 2);
      }
    });
  });
  context.strokeStyle = css(dark ? [255, 255, 255] : [10, 12, 16]);
  context.strokeRect(label + marked * cell, 0.5, Math.max(cell, 2), series.length * line - 1);
  canvas.element.setAttribute("role", "img");
  canvas.element.setAttribute("aria-label", `Gradient norm of ${series.length} layers over ${xs.length} steps; the table below holds the numbers`);
  canvas.element.style.cursor = "pointer";
  canvas.element.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const box = canvas.element.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * series.length);
    if (series[row]) how.go(series[row].at);
  }, { signal: how.signal });
  return [canvas.element,
    h("p", { class: "nw-note" }, `‖dL/dW‖ of each layer, the first at the top, at ${whole(xs.length)} stored steps in order (${whole(xs[0])} to ${whole(xs[xs.length - 1])}): from pale, ${figure(10 ** low, 2)}, to dark, ${figure(10 ** high, 2)}, by its logarithm; orange is exactly 0, ${dark ? "white" : "black"} is NaN (×) or infinite (∞). Click a row to look at its layer.${how.said}`)];
}
