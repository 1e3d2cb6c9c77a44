// A layer as the linear algebra it is, how its values were spread over the training, and who in it does not work.

import { dataTable, h, openable, refill } from "./dom.js";
import { product } from "./forward.js";
import { neuronLists } from "./layer_lists.js";
import { gradientFlow, LayerSpread } from "./layer_spread.js";
import { drawnLayers } from "./layout.js";
import { counted, figure, visible, whole } from "./numbers.js";
import { legend, paint, picture, sharpCanvas } from "./pictures.js";
import { css, largestSize } from "./scales.js";

const MOST_CELLS_ACROSS = 512;
const TALLEST = 300;

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
    this.spread = new LayerSpread(model, theme);
  }

  update() {
    const { layer: chosen, step, example } = this.store.now;
    const index = chosen < 0 ? drawnLayers(this.model.net)[0].index : chosen;
    const layer = this.model.net.layers[index];
    refill(this.root,
      h("div", { class: "nw-headline" }, h("h2", { tabindex: "-1" }, `${/^\d+$/.test(layer.name) ? "layer " : ""}${visible(layer.name, 80)}`), this.steer(index)),
      ...(this.model.answers
        ? [h("p", { class: "nw-lead" }, layer.algebra, layer.formula ? `: ${layer.formula} = ${whole(layer.parameter_count)} weights and biases.` : "."), this.algebra(layer, index, this.model.trace(step, example)[index])]
        : [this.parts(layer)]),
      this.spread.view(layer, step),
      gradientFlow(this.model, index, step, { width: this.root.clientWidth - 24, theme: this.theme, signal: this.signal, go: (at) => this.store.set({ layer: at, neuron: 0, row: -1, column: -1 }) }),
      neuronLists(this.model, this.store, index, this.signal));
  }

  /** @param {number} index */
  steer(index) {
    return h("label", {}, "Layer ", h("select", { signal: this.signal, on: { change: (/** @type {any} */ event) => this.store.set({ layer: Number(event.target.value), neuron: 0, row: -1, column: -1 }) } },
      ...drawnLayers(this.model.net).map((one) => h("option", { value: one.index, selected: one.index === index }, visible(one.layer.name, 60)))));
  }

  /** a' = f(W a + b), drawn. @param {import("./forward.js").Layer} layer @param {number} index @param {import("./forward.js").LayerTrace} trace */
  algebra(layer, index, trace) {
    if (layer.kind !== "Dense") return layer.kind === "Conv2D" ? this.kernels(layer, index) : null;
    const { W, b } = layer.parameters;
    const [units, sources] = W.shape;
    const { parameters } = this.model.at(this.store.now.step);
    const values = parameters.subarray(W.offset, W.offset + units * sources);
    const limit = largestSize(values);
    const room = Math.max(96, Math.min(620, this.root.clientWidth - (this.root.clientWidth < 480 ? 206 : 270))); // the line is not broken
    // Of a large matrix a cell stands for several rows, or columns: their largest.
    const [down, along] = [Math.ceil(units / MOST_CELLS_ACROSS), Math.ceil(sources / MOST_CELLS_ACROSS)];
    const [rows, columns] = [Math.ceil(units / down), Math.ceil(sources / along)];
    const [wide, tall] = [Math.max(0.7, Math.min(18, room / columns)), Math.max(0.5, Math.min(18, TALLEST / rows))];
    const [width, height] = [Math.max(2, Math.round(wide * columns)), Math.max(2, Math.round(tall * rows))];
    const matrix = sharpCanvas(width, height);
    const shown = down * along === 1 ? values : shrink(values, units, sources, down, along);
    paint(matrix.context, shown, { rows, columns }, { x: 0, y: 0, w: width, h: height, limit, mode: "signed", ...this.theme });
    const { neuron } = this.store.now;
    matrix.context.strokeStyle = css(this.theme.dark ? [255, 255, 255] : [0, 0, 0]);
    matrix.context.lineWidth = 1.5;
    matrix.context.strokeRect(0.75, Math.min(height - 2, Math.floor(neuron / down) * tall), width - 1.5, Math.max(tall, 2));
    matrix.element.setAttribute("role", "img");
    matrix.element.setAttribute("aria-label", `W, ${units} rows and ${sources} columns; row ${neuron} belongs to ${this.model.neuronName(index, neuron)}`);
    matrix.element.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const box = matrix.element.getBoundingClientRect();
      const row = Math.floor(((event.clientY - box.top) / box.height) * rows) * down;
      this.store.set({ layer: index, neuron: Math.max(0, Math.min(units - 1, row)), row: -1, column: -1 });
    }, { signal: this.signal });
    const column = (/** @type {ArrayLike<number>} */ vector, /** @type {string} */ words, /** @type {number} */ most) => {
      const group = Math.ceil(vector.length / MOST_CELLS_ACROSS);
      const n = Math.ceil(vector.length / group);
      const high = Math.max(2, Math.round(Math.min(TALLEST, 18 * n)));
      const canvas = sharpCanvas(14, high);
      paint(canvas.context, group === 1 ? vector : shrink(vector, vector.length, 1, group, 1), { rows: n, columns: 1 }, { x: 0, y: 0, w: 14, h: high, limit: most, mode: "signed", ...this.theme });
      canvas.element.setAttribute("aria-hidden", "true");
      return h("figure", { class: "nw-vector" }, canvas.element, h("figcaption", {}, words));
    };
    const bias = parameters.subarray(b.offset, b.offset + units);
    return h("section", {}, h("h3", {}, "One layer, one line of algebra"),
      h("div", { class: "nw-algebra" },
        column(trace.a, `a ${units}`, largestSize(trace.a)), h("span", { class: "nw-op" }, "= f("),
        h("figure", {}, matrix.element, h("figcaption", {}, `W ${units} × ${sources}${down * along > 1 ? `, each cell the largest of ${down} × ${along}` : ""}`)),
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

  /** What a module is, where there is no line of algebra to draw. @param {import("./forward.js").Layer} layer */
  parts(layer) {
    const rows = Object.entries(layer.parameters).map(([key, place]) => [visible(key, 40), place.shape.join(" × ") || "1", whole(product(place.shape))]);
    const measured = layer.neurons ? `${counted(layer.neurons, "neuron")} measured${(layer.every ?? 1) > 1 ? `, one row in ${layer.every}` : ""}` : "no neurons of its own";
    return h("section", {}, h("p", { class: "nw-lead" }, `${visible(layer.kind, 60)}${layer.activation ? `, followed by ${layer.activation}` : ""}: ${measured}.`),
      rows.length ? dataTable("Its parameters", ["name", "shape", "numbers"], rows) : null);
  }
}

/**
 * Return a matrix with each block of `down` × `along` made one cell: its value of the largest size; NaN counts as largest.
 * @param {ArrayLike<number>} values
 * @param {number} rows
 * @param {number} columns
 * @param {number} down
 * @param {number} along
 */
export function shrink(values, rows, columns, down, along) {
  const [r1, c1] = [Math.ceil(rows / down), Math.ceil(columns / along)];
  const found = new Float32Array(r1 * c1);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const at = Math.floor(r / down) * c1 + Math.floor(c / along);
      const value = values[r * columns + c];
      if (Number.isNaN(value) || Math.abs(value) > Math.abs(found[at])) found[at] = value;
    }
  }
  return found;
}
