// One neuron of a model whose answers cannot be computed here: what was measured of it, its weights, its past.

import { barList } from "./charts.js";
import { dataTable, h, openable, refill } from "./dom.js";
import { strongest } from "./layout.js";
import { noForwardPass } from "./module_side.js";
import { counted, figure, signed, visible, whole } from "./numbers.js";
import { pastOf } from "./past_view.js";
import { legend, picture } from "./pictures.js";
import { QUANTITIES, quantity } from "./quantities.js";
import { largestSize } from "./scales.js";

export class ModuleNeuronView {
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
  }

  update() {
    const { layer: index, neuron, step } = this.store.now;
    const layer = this.model.net.layers[index];
    if (!layer || index < 0) {
      refill(this.root, h("p", { class: "nw-empty" }, "Choose a neuron: click a cell, or move there with the arrow keys."));
      return;
    }
    if (!layer.neurons) {
      refill(this.root, h("h2", { tabindex: "-1" }, visible(layer.name, 80)), h("p", { class: "nw-empty" }, "This module has no neurons of its own: look at it as a layer."));
      return;
    }
    refill(this.root,
      h("div", { class: "nw-headline" }, h("h2", { tabindex: "-1" }, this.model.neuronName(index, neuron)), this.steer(layer, index, neuron)),
      h("p", { class: "nw-lead" }, `A neuron of ${visible(layer.name, 60)}, ${visible(layer.kind, 40)}${layer.activation ? `, followed by ${layer.activation}` : ""}.`),
      h("div", { class: "nw-columns" }, this.measured(index, neuron, step), this.weights(layer, index, neuron, step)),
      this.ranked(index, neuron, step),
      pastOf(this.model, index, neuron, step, this.root.clientWidth),
      h("section", {}, h("h3", {}, "Its sum on an example"), h("p", { class: "nw-note" }, `z = Σ w·x + b cannot be written out here, as x is not known. ${noForwardPass(this.model)}`)));
  }

  /** @param {import("./forward.js").Layer} layer @param {number} index @param {number} neuron */
  steer(layer, index, neuron) {
    const go = (/** @type {number} */ by) => () => this.store.set({ layer: index, neuron: (neuron + by + layer.neurons) % layer.neurons });
    return h("span", { class: "nw-buttons" },
      h("button", { type: "button", "aria-label": "Previous neuron", signal: this.signal, on: { click: go(-1) } }, "◂"),
      h("button", { type: "button", "aria-label": "Next neuron", signal: this.signal, on: { click: go(1) } }, "▸"));
  }

  /** @param {number} index @param {number} neuron @param {number} step */
  measured(index, neuron, step) {
    const rows = [];
    let frame = -1;
    for (const { name, words } of QUANTITIES) {
      const found = this.model.history(index, neuron, name);
      if (!found) continue;
      let at = 0;
      for (let k = 1; k < found.steps.length; k++) if (Math.abs(found.steps[k] - step) < Math.abs(found.steps[at] - step)) at = k;
      frame = found.steps[at];
      if (Number.isNaN(found.values[at]) || (name.startsWith("nonfinite") && !found.values[at])) continue;
      rows.push([words, quantity(name).signed ? signed(found.values[at], 4) : figure(found.values[at], 4)]);
    }
    if (!rows.length) return h("section", {}, h("h3", {}, "What was measured of it"), h("p", { class: "nw-empty" }, "Nothing of it is in this page at this step."));
    return h("section", {}, h("h3", {}, "What was measured of it"), dataTable(`At step ${whole(frame)}, on the batch of that step`, ["quantity", "value"], rows));
  }

  /** @param {import("./forward.js").Layer} layer @param {number} index @param {number} neuron @param {number} step */
  weights(layer, index, neuron, step) {
    const { weights: key, biases } = /** @type {any} */ (layer);
    if (!key || !layer.parameters[key]) return null;
    const heading = h("h3", {}, "Its weights");
    if (!this.model.hasWeights) return h("section", {}, heading, h("p", { class: "nw-empty" }, "No weights are in this page: they are too many, or were not recorded. neuronwise.open(RUN).stored.layer(step, name) has those that were."));
    const { offset, shape } = layer.parameters[key];
    const size = shape.slice(1).reduce((all, n) => all * n, 1);
    const row = neuron * (layer.every ?? 1);
    const { parameters } = this.model.recorded(step);
    const values = parameters.subarray(offset + row * size, offset + (row + 1) * size);
    const bias = biases && layer.parameters[biases] ? parameters[layer.parameters[biases].offset + row] : null;
    const at = this.model.states.has(step) ? step : this.model.nearest(step);
    const grid = gridOf(shape.slice(1));
    const limit = largestSize(values);
    const top = strongest(values, 8);
    return h("section", {}, heading,
      picture(values, grid, { side: Math.min(220, 26 * Math.max(grid.rows, grid.columns)), mode: "signed", theme: this.theme, title: `Weights, largest ${figure(limit)}`, caption: `${counted(size, "weight")} of row ${whole(row)} of ${visible(key, 30)}, shape ${shape.join(" × ")}${grid.words}` }),
      legend(limit, this.theme, "w"),
      bias === null ? null : h("p", {}, "bias b = ", h("b", {}, signed(bias, 4))),
      h("p", { class: "nw-note" }, `As recorded at step ${whole(at)}${at === step ? "" : `, the nearest to ${whole(step)} whose weights are here`}.`),
      openable("The largest", () => barList(top.map((k) => ({ name: `w[${k}]`, value: values[k] })))));
  }

  /** How it stands among its module's neurons. @param {number} index @param {number} neuron @param {number} step */
  ranked(index, neuron, step) {
    const { show } = this.store.now;
    const frame = this.model.frameOf(step);
    const found = this.model.atFrame(index, show, frame);
    if (!found || found.values.length < 2) return null;
    const { words } = quantity(show);
    const order = Array.from(found.values, (value, k) => ({ value, k })).filter(({ value }) => !Number.isNaN(value)).sort((p, q) => q.value - p.value);
    if (order.length < 2) return null;
    const own = order.findIndex(({ k }) => k * found.spacing === neuron);
    const jump = (/** @type {{value: number, k: number}} */ { value, k }) => h("li", {}, h("button", { type: "button", class: "nw-link", signal: this.signal, on: { click: () => this.store.set({ layer: index, neuron: k * found.spacing }) } }, this.model.neuronName(index, k * found.spacing)), ` ${figure(value)}`);
    return h("section", {}, h("h3", {}, `Among its module's neurons, by ${words}`),
      h("p", { class: "nw-note" }, own < 0 ? `Of ${whole(order.length)} neurons.` : `It is number ${whole(own + 1)} of ${whole(order.length)}.`),
      h("div", { class: "nw-columns" }, h("div", {}, h("h4", {}, "Largest"), h("ul", { class: "nw-plain" }, ...order.slice(0, 5).map(jump))), h("div", {}, h("h4", {}, "Least"), h("ul", { class: "nw-plain" }, ...order.slice(-5).reverse().map(jump)))));
  }
}

/** How weights of a shape lie as a picture. @param {number[]} shape */
function gridOf(shape) {
  const size = shape.reduce((all, n) => all * n, 1);
  if (shape.length >= 2) {
    const [rows, columns] = [shape.slice(0, -1).reduce((all, n) => all * n, 1), shape[shape.length - 1]];
    return { rows, columns, words: shape.length === 3 ? ", channels one below the other" : "" };
  }
  const columns = Math.max(1, Math.ceil(Math.sqrt(size)));
  const whole_ = size % columns === 0;
  if (whole_ && size > 24) return { rows: size / columns, columns, words: `, ${columns} in a line` };
  for (let c = columns; c <= Math.min(size, 4 * columns); c++) if (size % c === 0 && size > 24) return { rows: size / c, columns: c, words: `, ${c} in a line` };
  return { rows: 1, columns: Math.max(1, size), words: "" };
}
