// How a neuron came to be so: its statistics over the training, as charts and as a table.

import { lineChart } from "./charts.js";
import { dataTable, h, openable } from "./dom.js";
import { figure, whole } from "./numbers.js";
import { quantity } from "./quantities.js";

const SHOWN = ["weight_norm", "bias", "grad_norm", "update_norm", "mean", "std", "max", "inactive", "saturated", "nonfinite_weights", "nonfinite_gradients", "nonfinite_activations"];

const [LEAST, GAP] = [155, 12];

/**
 * Return the charts of a neuron's past; words where it is not here.
 * @param {import("./model.js").Model} model
 * @param {number} index
 * @param {number} neuron
 * @param {number} step that is marked
 * @param {number} room pixels from left to right
 * @param {readonly string[]} [names] which statistics
 */
export function pastOf(model, index, neuron, step, room, names = SHOWN) {
  const charts = names.flatMap((name) => {
    const found = model.history(index, neuron, name);
    const isShown = found && found.values.some((value) => !Number.isNaN(value)) && !(name.startsWith("nonfinite") && found.values.every((value) => !(value > 0)));
    return found && isShown ? [{ words: quantity(name).words, ...found }] : [];
  });
  const heading = h("h3", {}, "How it came to be so");
  if (!charts.length) return h("section", {}, heading, h("p", { class: "nw-empty" }, whyNone(model, index, neuron)));
  // Rows of the same length, as few as there is room for.
  const most = Math.max(1, Math.floor((room + GAP) / (LEAST + GAP)));
  const columns = Math.ceil(charts.length / Math.ceil(charts.length / most));
  const width = Math.max(LEAST, Math.min(300, Math.floor((room - (columns - 1) * GAP) / columns)));
  return h("section", {}, heading,
    h("div", { class: "nw-charts" }, ...charts.map(({ words, steps, values }) => {
      const from = steps[0] === 0 && Number.isNaN(values[0]) ? 1 : 0; // before the first step there are no gradients yet
      return h("figure", {}, lineChart([{ name: words, xs: steps.slice(from), ys: values.slice(from) }], { title: `${words} over the steps`, width, height: 110, mark: step }), h("figcaption", {}, words));
    })),
    h("p", { class: "nw-note" }, model.exact.get(`${index} ${neuron}`) ? `All ${whole(charts[0].steps.length)} steps at which statistics were recorded.` : model.statisticsNote()),
    openable("Its past as a table", () => dataTable(`${model.neuronName(index, neuron)} over the training`, ["step", ...charts.map((chart) => chart.words)],
      charts[0].steps.map((at, k) => [whole(at), ...charts.map((chart) => figure(chart.values[k], 4))]))));
}

/** @param {import("./model.js").Model} model @param {number} index @param {number} neuron */
function whyNone(model, index, neuron) {
  const layer = model.measured(index);
  if (layer && layer.spacing > 1 && neuron % layer.spacing) {
    const nearest = Math.round(neuron / layer.spacing) * layer.spacing;
    return `Of this layer's ${whole(layer.neurons)} neurons the statistics of one in ${layer.spacing} are in this page; the nearest is ${model.neuronName(index, Math.min(nearest, layer.neurons - 1))}. neuronwise ui shows all.`;
  }
  return "Its statistics over the training are not in this page.";
}
