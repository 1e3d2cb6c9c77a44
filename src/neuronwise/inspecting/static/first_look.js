// What is looked at when a page opens: something that says something, or what its address names.

import { unitsOf } from "./forward.js";
import { drawnLayers, strongest } from "./layout.js";
import { fromAddress } from "./state.js";

/** @typedef {import("./model.js").Model} Model */

/**
 * @param {Model} model
 * @param {string} hash of the page's address; "" for none
 * @returns {import("./state.js").Selection}
 */
export function firstLook(model, hash) {
  const first = drawnLayers(model.net).find(({ layer }) => (model.answers ? layer.parameters.W : layer.neurons > 1)) ?? drawnLayers(model.net)[0];
  const start = { step: model.delivered, example: model.examples.count ? 0 : -1, layer: first.index, neuron: 0, row: -1, column: -1, view: "neuron", links: "weights", show: model.answers ? "mean" : bestQuantity(model), focus: "" };
  if (model.meanInput && !model.examples.count) model.make(Float32Array.from(model.meanInput));
  if (model.answers) { // one that says something here: of feature maps the one that is brightest all over
    const { a } = model.trace(start.step, start.example)[first.index];
    const { count, neuron } = unitsOf(first.layer);
    const sums = new Float64Array(count);
    for (let i = 0; i < a.length; i++) sums[neuron(i)] += a[i];
    start.neuron = strongest(sums, 1)[0] ?? 0;
  }
  if (hash) Object.assign(start, checked(fromAddress(hash), model));
  return start;
}

/**
 * Leave out what an address says wrongly of this run.
 * @param {Partial<import("./state.js").Selection>} found
 * @param {Model} model
 */
function checked(found, model) {
  const drawn = drawnLayers(model.net).map(({ index }) => index);
  if (found.layer !== undefined && !drawn.includes(found.layer)) delete found.layer;
  const layer = model.net.layers[found.layer ?? drawn[0]];
  if (found.neuron !== undefined && (found.neuron < 0 || found.neuron >= layer.neurons)) delete found.neuron;
  if (found.example !== undefined && (found.example < 0 || found.example >= model.examples.count)) delete found.example;
  if (found.step !== undefined && !model.steps.includes(found.step)) delete found.step;
  return found;
}

/** What is shown of the modules at first: activations, if any were seen. @param {Model} model */
function bestQuantity(model) {
  const frame = (model.statistics?.steps.length ?? 0) - 1;
  const has = (/** @type {string} */ name) => model.net.layers.some((_, index) => model.atFrame(index, name, frame)?.values.some((value) => Number.isFinite(value)));
  return ["mean", "grad_norm", "weight_norm"].find(has) ?? "weight_norm";
}
