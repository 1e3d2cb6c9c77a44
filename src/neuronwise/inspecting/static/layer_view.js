// A layer as the linear algebra it is, how its values were spread over the training, and who in it does not work.

import { lineChart } from "./charts.js";
import { dataTable, h, openable, refill } from "./dom.js";
import { drawnLayers } from "./layout.js";
import { unpack } from "./decode.js";
import { counted, figure, whole } from "./numbers.js";
import { legend, paint, picture, sharpCanvas } from "./pictures.js";
import { css, largestSize, mix } from "./scales.js";
import { correlation } from "./neuron_view.js";

const MOST_CELLS_ACROSS = 512;

export class LayerView {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {{palette: any, dark: boolean, still: boolean}} theme
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, theme, signal) {
    this.root = root;
    this.model = model;
    this.store = store;
    this.theme = theme;
    this.signal = signal;
    const { histograms } = model.payload;
    this.spread = histograms && histograms.counts ? { ...histograms, counts: unpack(histograms.counts), ranges: unpack(histograms.ranges) } : null;
  }

  update() {
    const { layer: chosen, step, example } = this.store.now;
    const index = chosen < 0 ? drawnLayers(this.model.net)[0].index : chosen;
    const layer = this.model.net.layers[index];
    const trace = this.model.trace(step, example)[index];
    refill(this.root,
      h("div", { class: "nw-headline" }, h("h2", { tabindex: "-1" }, layer.name), this.steer(index)),
      h("p", { class: "nw-lead" }, layer.algebra, layer.formula ? `: ${layer.formula} = ${whole(layer.parameter_count)} weights and biases.` : "."),
      this.algebra(layer, index, trace),
      this.distributions(layer),
      this.flow(index),
      this.lists(layer, index));
  }

  /** @param {number} index */
  steer(index) {
    return h("label", {}, "Layer ", h("select", { signal: this.signal, on: { change: (/** @type {any} */ event) => this.store.set({ layer: Number(event.target.value), neuron: 0, row: -1, column: -1 }) } },
      ...drawnLayers(this.model.net).map((one) => h("option", { value: one.index, selected: one.index === index }, one.layer.name))));
  }

  /** a' = f(W a + b), drawn. @param {import("./forward.js").Layer} layer @param {number} index @param {import("./forward.js").LayerTrace} trace */
  algebra(layer, index, trace) {
    if (layer.kind !== "Dense") return layer.kind === "Conv2D" ? this.kernels(layer, index) : null;
    const { W, b } = layer.parameters;
    const [units, sources] = W.shape;
    const { parameters } = this.model.at(this.store.now.step);
    const values = parameters.subarray(W.offset, W.offset + units * sources);
    const limit = largestSize(values);
    const room = Math.max(180, Math.min(620, this.root.clientWidth - 190));
    const group = Math.ceil(Math.max(sources, units) / MOST_CELLS_ACROSS);
    const [rows, columns] = [Math.ceil(units / group), Math.ceil(sources / group)];
    const cell = Math.max(0.7, Math.min(18, room / columns, 300 / rows));
    const height = Math.max(2, Math.round(cell * rows));
    const matrix = sharpCanvas(Math.max(2, Math.round(cell * columns)), height);
    const shown = group === 1 ? values : shrink(values, units, sources, group);
    paint(matrix.context, shown, { rows, columns }, { x: 0, y: 0, w: Math.round(cell * columns), h: height, limit, mode: "signed", ...this.theme });
    const { neuron } = this.store.now;
    matrix.context.strokeStyle = css(this.theme.dark ? [255, 255, 255] : [0, 0, 0]);
    matrix.context.lineWidth = 1.5;
    matrix.context.strokeRect(0.75, Math.floor(neuron / group) * cell, cell * columns - 1.5, Math.max(cell, 2));
    matrix.element.setAttribute("role", "img");
    matrix.element.setAttribute("aria-label", `W, ${units} rows and ${sources} columns; row ${neuron} belongs to ${layer.name}[${neuron}]`);
    matrix.element.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const box = matrix.element.getBoundingClientRect();
      const row = Math.floor(((event.clientY - box.top) / box.height) * rows) * group;
      this.store.set({ layer: index, neuron: Math.max(0, Math.min(units - 1, row)), row: -1, column: -1 });
    }, { signal: this.signal });
    const column = (/** @type {ArrayLike<number>} */ vector, /** @type {string} */ words, /** @type {number} */ most) => {
      const n = Math.ceil(vector.length / group);
      const tall = Math.max(2, Math.round(Math.min(300, cell * n)));
      const canvas = sharpCanvas(14, tall);
      paint(canvas.context, group === 1 ? vector : shrink(vector, vector.length, 1, group), { rows: n, columns: 1 }, { x: 0, y: 0, w: 14, h: tall, limit: most, mode: "signed", ...this.theme });
      canvas.element.setAttribute("aria-hidden", "true");
      return h("figure", { class: "nw-vector" }, canvas.element, h("figcaption", {}, words));
    };
    const bias = parameters.subarray(b.offset, b.offset + units);
    return h("section", {}, h("h3", {}, "One layer, one line of algebra"),
      h("div", { class: "nw-algebra" },
        column(trace.a, `a ${units}`, largestSize(trace.a)), h("span", { class: "nw-op" }, "= f("),
        h("figure", {}, matrix.element, h("figcaption", {}, `W ${units} × ${sources}${group > 1 ? `, each cell the largest of ${group} × ${group}` : ""}`)),
        h("span", { class: "nw-op" }, "·"), column(trace.x, `x ${sources}`, largestSize(trace.x)),
        h("span", { class: "nw-op" }, "+"), column(bias, `b ${units}`, largestSize(bias)), h("span", { class: "nw-op" }, ")")),
      legend(limit, this.theme, "W"),
      h("p", { class: "nw-note" }, `Row i holds the weights of neuron i; row ${neuron} is framed. ${whole(units)} × ${whole(sources)} + ${whole(units)} = ${whole(units * sources + units)} numbers. Click a row to look at its neuron.`),
      openable("W as a table", () => dataTable(`The first ${Math.min(20, units)} rows and ${Math.min(20, sources)} columns of W, and b`, ["neuron", ...Array.from({ length: Math.min(20, sources) }, (_, i) => this.model.sourceName(index, i)), "b"],
        Array.from({ length: Math.min(20, units) }, (_, o) => [this.model.neuronName(index, o), ...Array.from({ length: Math.min(20, sources) }, (_, i) => figure(values[o * sources + i])), figure(bias[o])]))));
  }

  /** @param {import("./forward.js").Layer} layer @param {number} index */
  kernels(layer, index) {
    const { W } = layer.parameters;
    const [filters, channels, rows, columns] = W.shape;
    const { parameters } = this.model.at(this.store.now.step);
    const limit = largestSize(parameters.subarray(W.offset, W.offset + filters * channels * rows * columns));
    const shown = Math.min(filters, 64);
    return h("section", {}, h("h3", {}, "Its filters"),
      h("div", { class: "nw-kernels" }, ...Array.from({ length: shown }, (_, f) => {
        const size = rows * columns;
        const at = W.offset + f * channels * size;
        const found = picture(parameters.subarray(at, at + size), { rows, columns }, { side: 48, mode: "signed", limit, theme: this.theme, title: `Filter ${f} on its first channel`, caption: String(f) });
        return h("button", { type: "button", class: "nw-like", "aria-label": `Filter ${f}`, signal: this.signal, on: { click: () => this.store.set({ layer: index, neuron: f, row: -1, column: -1, view: "neuron" }) } }, found);
      })), legend(limit, this.theme, "w"),
      h("p", { class: "nw-note" }, `${counted(filters, "filter")} of ${rows} × ${columns}${channels > 1 ? ` on ${channels} channels each; drawn is the first channel` : ""}${shown < filters ? `; the first ${shown} are drawn` : ""}.`));
  }

  /** How weights, gradients and activations were spread at each stored step. @param {import("./forward.js").Layer} layer */
  distributions(layer) {
    if (!this.spread) return null;
    const { layers, what, steps, counts, ranges } = this.spread;
    const at = layers.indexOf(layer.name);
    if (at < 0) return null;
    const charts = what.map((/** @type {string} */ key, /** @type {number} */ w) => {
      const range = (/** @type {number} */ s) => { const k = ((s * what.length + w) * layers.length + at) * 2; return [ranges[k], ranges[k + 1]]; };
      const ends = steps.map((/** @type {number} */ _, /** @type {number} */ s) => range(s)).filter((/** @type {number[]} */ [p, q]) => Number.isFinite(p) && Number.isFinite(q));
      if (!ends.length) return null;
      const low = Math.min(...ends.map((/** @type {number[]} */ e) => e[0]));
      const high = Math.max(...ends.map((/** @type {number[]} */ e) => e[1]));
      if (!(high > low)) return null;
      const [width, tall] = [250, 110];
      const canvas = sharpCanvas(width, tall);
      const ground = /** @type {import("./scales.js").Colour} */ (this.theme.dark ? [24, 27, 32] : [250, 251, 252]);
      steps.forEach((/** @type {number} */ _, /** @type {number} */ s) => {
        const [from, to] = range(s);
        const x = (s / steps.length) * width;
        const w1 = width / steps.length + 0.5;
        if (steps[s] === 0 && Number.isNaN(from)) return; // before the first step there are no gradients yet
        if (!Number.isFinite(from) || !Number.isFinite(to)) {
          canvas.context.fillStyle = css(this.theme.palette.odd);
          canvas.context.fillRect(x, 0, w1, 4);
          return;
        }
        for (let k = 0; k < 64; k++) {
          const share = counts[((s * what.length + w) * layers.length + at) * 64 + k] / 255;
          if (!share) continue;
          const y0 = from + ((to - from) * k) / 64;
          const y1 = from + ((to - from) * (k + 1)) / 64;
          canvas.context.fillStyle = css(mix(ground, this.theme.palette.positive, 0.12 + 0.88 * share));
          const top = tall - ((y1 - low) / (high - low)) * tall;
          canvas.context.fillRect(x, top, w1, Math.max(1, ((y1 - y0) / (high - low)) * tall));
        }
      });
      canvas.element.setAttribute("role", "img");
      const names = new Map([["W", "weights"], ["dW", "gradients"], ["z", "z"], ["a", "activations"]]);
      const words = `${names.get(key) ?? key}, from ${figure(low)} to ${figure(high)}`;
      canvas.element.setAttribute("aria-label", `${words}, over steps ${steps[0]} to ${steps[steps.length - 1]}`);
      return h("figure", {}, canvas.element, h("figcaption", {}, words));
    }).filter(Boolean);
    if (!charts.length) return null;
    return h("section", {}, h("h3", {}, "How its values were spread, over the training"), h("div", { class: "nw-charts" }, ...charts),
      h("p", { class: "nw-note" }, `Each column is a step (${whole(steps[0])} to ${whole(steps[steps.length - 1])}, ${whole(steps.length)} of them); the darker, the more values. Least and largest are the true ones; a mark at the top: values that are not finite.`),
      openable("As a table", () => dataTable(`Least and largest values of ${layer.name}`, ["step", ...what.flatMap((/** @type {string} */ key) => [`${key} least`, `${key} largest`])],
        steps.map((/** @type {number} */ step, /** @type {number} */ s) => [whole(step), ...what.flatMap((/** @type {string} */ _, /** @type {number} */ w) => { const k = ((s * what.length + w) * layers.length + at) * 2; return [figure(ranges[k]), figure(ranges[k + 1])]; })]))));
  }

  /** How large the gradients of each layer are. @param {number} index */
  flow(index) {
    const stats = this.model.statistics;
    if (!stats || stats.steps.length < 2) return null;
    const series = drawnLayers(this.model.net).filter(({ layer }) => stats.layers.some((/** @type {any} */ one) => one.name === layer.name)).map(({ layer, index: at }) => {
      const known = stats.layers.find((/** @type {any} */ one) => one.name === layer.name);
      const sums = new Float64Array(stats.steps.length);
      for (let k = 0; k < known.neurons; k++) {
        const found = this.model.history(at, k, "grad_norm");
        if (found) found.values.forEach((/** @type {number} */ value, /** @type {number} */ s) => { sums[s] += value * value; });
      }
      return { name: layer.name, at, xs: stats.steps, ys: Array.from(sums, (value) => Math.log10(Math.sqrt(value))) };
    }).filter(({ ys }) => ys.some((value) => Number.isFinite(value)));
    if (!series.length) return null;
    const shown = series.map((one, i) => ({ ...one, ...(Number.isNaN(one.ys[0]) && one.xs[0] === 0 ? { xs: one.xs.slice(1), ys: one.ys.slice(1) } : {}), tone: one.at === index ? "nw-strongline" : `nw-tone${i % 4}` }));
    return h("section", {}, h("h3", {}, "Gradient flow: how much each layer is told to change"),
      lineChart(shown, { title: "Gradient norm of each layer over the steps, logarithmic", width: Math.max(280, Math.min(640, this.root.clientWidth - 24)), height: 170, mark: this.store.now.step, format: (value) => figure(10 ** value, 2) }),
      h("p", { class: "nw-note" }, "‖dL/dW‖ on a logarithmic scale; the thick line is this layer. ", ...shown.flatMap((one, i) => [h("span", { class: `nw-key ${one.tone}` }, "━ "), `${one.name}${i < shown.length - 1 ? ", " : "."}`])));
  }

  /** Neurons that do not work, or do what others do. @param {import("./forward.js").Layer} layer @param {number} index */
  lists(layer, index) {
    if (this.model.answered < 8) return null;
    const { values, count, examples } = this.model.acrossExamples(this.store.now.step, index);
    if (count > 4096) return null;
    const columns = Array.from({ length: count }, (_, k) => Array.from({ length: examples }, (_e, e) => values[e * count + k]));
    const reluLike = ["relu"].includes(layer.activation ?? "");
    const dead = reluLike ? pick(columns, (column) => column.every((value) => value === 0)) : [];
    const [low, high] = layer.activation === "sigmoid" ? [0, 1] : layer.activation === "tanh" ? [-1, 1] : [NaN, NaN];
    const saturated = pick(columns, (column) => column.filter((value) => Math.abs(value - low) < 0.02 || Math.abs(value - high) < 0.02).length > 0.95 * examples);
    const odd = pick(columns, (column) => column.some((value) => !Number.isFinite(value)));
    const twins = [];
    if (count <= 256) {
      for (let p = 0; p < count; p++) for (let q = p + 1; q < count; q++) if (correlation(columns[p], columns[q]) > 0.98) twins.push([p, q]);
    }
    const jump = (/** @type {number} */ k) => h("button", { type: "button", class: "nw-link", signal: this.signal, on: { click: () => this.store.set({ layer: index, neuron: k, row: -1, column: -1, view: "neuron" }) } }, this.model.neuronName(index, k));
    const list = (/** @type {string} */ words, /** @type {number[]} */ found, /** @type {string} */ none) => h("div", {}, h("h4", {}, `${words}: ${found.length ? whole(found.length) : "none"}`), found.length ? h("p", {}, ...found.slice(0, 30).flatMap((k) => [jump(k), " "]), found.length > 30 ? `and ${whole(found.length - 30)} more` : "") : h("p", { class: "nw-note" }, none));
    return h("section", {}, h("h3", {}, `Neurons to look at, on ${whole(examples)} examples`), h("div", { class: "nw-columns" },
      reluLike ? list("Dead", dead, "Every neuron is active on some example.") : null,
      Number.isNaN(low) ? null : list("Saturated", saturated, "No neuron sits at an end of its range on nearly all examples."),
      odd.length ? list("Not finite", odd, "") : null,
      h("div", {}, h("h4", {}, `Twins: ${twins.length ? whole(twins.length) : "none"}`), count > 256 ? h("p", { class: "nw-note" }, "Of more than 256 neurons twins are shown for one at a time, in the view of a neuron.") : twins.length ? h("ul", { class: "nw-plain" }, ...twins.slice(0, 12).map(([p, q]) => h("li", {}, jump(p), " and ", jump(q)))) : h("p", { class: "nw-note" }, "No two correlate above 0.98."))));
  }
}

/** @param {number[][]} columns @param {(column: number[]) => boolean} test */
function pick(columns, test) {
  return columns.flatMap((column, k) => (test(column) ? [k] : []));
}

/**
 * Return a matrix with each block of group × group made one cell: its value of the largest size.
 * @param {ArrayLike<number>} values
 * @param {number} rows
 * @param {number} columns
 * @param {number} group
 */
export function shrink(values, rows, columns, group) {
  const [r1, c1] = [Math.ceil(rows / group), Math.ceil(columns / group)];
  const found = new Float32Array(r1 * c1);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const at = Math.floor(r / group) * c1 + Math.floor(c / group);
      const value = values[r * columns + c];
      if (Number.isNaN(value) || Math.abs(value) > Math.abs(found[at])) found[at] = value;
    }
  }
  return found;
}
