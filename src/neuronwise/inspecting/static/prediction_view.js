// The answer and why: what each input and each hidden neuron adds to it, in sums that are checked.

import { barList } from "./charts.js";
import { sumOf, contributions } from "./contributions.js";
import { dataTable, h, openable, refill } from "./dom.js";
import { drawnLayers, strongest } from "./layout.js";
import { counted, figure, signed, steady, steadyPercent, steadySigned, visible, whole } from "./numbers.js";
import { legend, picture } from "./pictures.js";
import { largestSize } from "./scales.js";
import { unitsOf } from "./forward.js";

const TOP_COLUMNS = 12;
const TOP_NEURONS = 8;

export class PredictionView {
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
    /** @type {number | null} */
    this.output = null;
  }

  update() {
    const { model, store } = this;
    const { step, example } = store.now;
    const trace = model.trace(step, example);
    const last = trace[trace.length - 1];
    const output = this.output ?? (last.a.length > 1 ? model.chosen(last.a) : 0);
    const { parameters, buffers } = model.at(step);
    // From the average row, where there is one: a house is explained by how it differs from the usual one.
    const base = model.inputs.kind === "picture" ? null : model.meanInput;
    const found = contributions(model.net, parameters, buffers, model.input(example), base, output, { silenced: model.silenced, work: model.work });
    refill(this.root,
      h("div", { class: "nw-headline" }, h("h2", { tabindex: "-1" }, `The answer: ${this.named(last)}`), this.chooser(last)),
      this.lead(last, example),
      h("div", { class: "nw-columns" }, this.outputs(last, output, example), this.inputs(found, example, output, Boolean(base))),
      this.layers(found, output, trace));
  }

  /** The answer, so that it is understood alone: "price 473,186", "churn = 1". @param {import("./forward.js").LayerTrace} last */
  named(last) {
    const { model } = this;
    const { name, detail } = model.answer(last.a);
    if (model.outputs.task === "regression" && last.a.length === 1) return `${detail} ${name}`;
    return last.a.length === 1 && model.outputs.task === "binary" ? model.binaryName(model.chosen(last.a)) : name;
  }

  /** Which output is explained. @param {import("./forward.js").LayerTrace} last */
  chooser(last) {
    if (last.a.length < 2) return null;
    const choose = (/** @type {any} */ event) => { this.output = event.target.value === "" ? null : Number(event.target.value); this.update(); };
    return h("label", {}, "Explain ", h("select", { signal: this.signal, "aria-label": "Which output is explained", on: { change: choose } },
      h("option", { value: "", selected: this.output === null }, "the answer"), ...Array.from(last.a, (_, i) => h("option", { value: i, selected: this.output === i }, this.model.outputName(i)))));
  }

  /** @param {import("./forward.js").LayerTrace} last @param {number} example */
  lead(last, example) {
    const { model } = this;
    const right = model.right(example);
    const { detail } = model.answer(last.a);
    const isNumber = model.outputs.task === "regression";
    if (right === null) return h("p", { class: "nw-lead" }, `${isNumber ? "" : `${detail}. `}${example < 0 ? "What is right, only you know." : ""}`);
    if (!isNumber) {
      const isRight = model.isRight(this.store.now.step, example);
      return h("p", { class: "nw-lead" }, `${detail}. `, isRight ? `✓ ${right} is right.` : `✗ Right is ${right}.`);
    }
    const [is, should] = [model.unit(last.a[0]), model.unit(model.examples.y[example * model.outputsPerRow])];
    const off = is - should;
    const share = should ? ` (${figure(Math.abs(100 * off / should), 2)} %)` : "";
    return h("p", { class: "nw-lead" }, `Right is ${right}; the answer is ${figure(Math.abs(off), 3)}${share} ${off < 0 ? "too low" : "too high"}.`);
  }

  /** @param {import("./forward.js").LayerTrace} last @param {number} output @param {number} example */
  outputs(last, output, example) {
    const { model } = this;
    if (last.a.length === 1 && model.outputs.task === "regression") return this.amounts(last, example);
    const rows = last.a.length === 1 && model.outputs.task === "binary" ? [{ name: model.binaryName(1), value: last.a[0] }, { name: model.binaryName(0), value: 1 - last.a[0] }] : Array.from(last.a, (value, i) => ({ name: model.outputName(i), value, strong: i === output }));
    const shown = rows.length > 14 ? rows.slice().sort((p, q) => q.value - p.value).slice(0, 14) : rows;
    const share = model.outputs.task !== null && model.outputs.task !== "regression";
    return h("section", {}, h("h3", {}, rows.length > shown.length ? `The largest ${shown.length} of ${whole(rows.length)} outputs` : "All outputs"), barList(shown.map((row) => ({ ...row, words: share ? steadyPercent(row.value) : figure(row.value) })), share ? 1 : undefined));
  }

  /** The answer beside what is right and what is usual. @param {import("./forward.js").LayerTrace} last @param {number} example */
  amounts(last, example) {
    const { model } = this;
    const rows = [{ name: "the answer", value: model.unit(last.a[0]), strong: true }];
    if (example >= 0 && model.examples.count) rows.push({ name: "right", value: model.unit(model.examples.y[example * model.outputsPerRow]), strong: false });
    if (model.examples.count) {
      const all = Array.from({ length: model.examples.count }, (_, e) => model.unit(model.examples.y[e * model.outputsPerRow])).sort((p, q) => p - q);
      rows.push({ name: `usual (median of ${whole(all.length)} rows)`, value: all[Math.floor(all.length / 2)], strong: false });
    }
    return h("section", {}, h("h3", {}, visible(model.outputs.target, 40)), barList(rows.map((row) => ({ ...row, words: figure(row.value, 5) }))));
  }

  /** What a contribution comes to, in the unit of the target; of classes in z. @param {number} value */
  words(value) {
    const { task, log, scale } = this.model.outputs;
    if (task !== "regression") return steadySigned(value);
    return log ? `× ${steady(Math.exp(value * scale))}` : steadySigned(value * scale);
  }

  /** The sum, checked. @param {string} first what is there before @param {number} start @param {ArrayLike<number>} values @param {number} value @param {import("./contributions.js").Contributions} found */
  check(first, start, values, value, found) {
    const { model } = this;
    const { task, log } = model.outputs;
    const sum = sumOf(values);
    const gap = value - start - sum;
    // What may be missed grows with what is added, not with what is left of it: much may cancel.
    const size = Math.abs(start) + Math.abs(value) + sumOf(Array.from(values, Math.abs));
    const fits = Math.abs(gap) <= (found.steps ? 1e-3 : 1e-5) * size + 1e-6 || !Number.isFinite(value);
    const told = task === "regression"
      ? `${first} ${figure(model.unit(start), 5)}${log ? `; times all of these, ${this.words(sum)},` : `, and all of these, ${this.words(sum)},`} ${log ? "is" : "come to"} ${figure(model.unit(start + sum), 5)}, the answer ${figure(model.unit(value), 5)}.`
      : `${first} z = ${signed(start, 4)}; with all of these, ${signed(sum, 4)}, that is ${signed(start + sum, 5)}; the network computed ${signed(value, 5)}.`;
    const miss = fits ? (gap === 0 ? " They are the same." : ` They differ by ${figure(Math.abs(gap), 2)}, which is ${found.steps ? "what the steps miss" : "rounding"}.`) : ` They miss by ${figure(Math.abs(gap), 2)}.`;
    return h("p", { class: fits ? "nw-check" : "nw-check nw-bad" }, h("span", { "aria-hidden": "true" }, fits ? "✓ " : "✗ "), told, miss);
  }

  /** @param {import("./contributions.js").Contributions} found @param {number} example @param {number} output @param {boolean} isAverage */
  inputs(found, example, output, isAverage) {
    const { model } = this;
    const x = model.input(example);
    const name = model.outputs.task === "regression" ? visible(model.outputs.target, 30) : model.answerName(output);
    const start = model.inputs.kind === "picture" ? "An empty picture gives" : isAverage ? (found.steps ? "The average row gives" : "From the average row and the biases come") : "The biases alone give";
    const check = this.check(start, found.start, found.inputs, found.value, found);
    const how = h("p", { class: "nw-note" }, found.steps
      ? `Integrated gradients in ${whole(found.steps)} steps ${model.inputs.kind === "picture" ? "from an empty picture" : isAverage ? "from the average row" : "from all inputs 0"}, as ${found.curved.map((layer) => visible(layer, 20)).slice(0, 4).join(", ")} ${found.curved.length > 1 ? "are" : "is"} curved.`
      : `Slope × ${isAverage ? "difference from the average row" : "input"}: exact, as every function here is made of straight pieces.`);
    if (model.inputs.kind === "picture") {
      const [rows, columns, channels = 1] = model.inputs.shape;
      const perPixel = new Float64Array(rows * columns);
      found.inputs.forEach((value, i) => { perPixel[Math.floor(i / channels)] += value; });
      const side = Math.max(90, Math.min(190, Math.floor((this.root.clientWidth - 12) / 2)));
      return h("section", {}, h("h3", {}, `What each pixel adds to ${name}`),
        h("div", { class: "nw-pair" }, picture(x, { rows, columns, channels }, { side, mode: "ink", theme: this.theme, limit: 1, title: "The picture", caption: "what it is shown" }),
          picture(perPixel, { rows, columns }, { side, mode: "signed", theme: this.theme, title: `What each pixel adds to ${name}`, caption: "blue speaks for it, orange (−) against" })),
        legend(largestSize(perPixel), this.theme, "added to z"), check, how,
        openable("As a table", () => dataTable("The inputs that add most", ["pixel", "value", "adds to z"], strongest(found.inputs, 40).map((i) => [model.inputName(i), figure(x[i]), signed(found.inputs[i])]))));
    }
    let rows;
    if (model.inputs.kind === "table") {
      rows = model.inputs.columns.map((/** @type {import("./encode.js").Column} */ column) => ({
        name: `${visible(column.name, 26)} ${model.cellWords(column, x)}`, value: column.inputs.reduce((sum, input) => sum + found.inputs[input.place], 0),
      }));
    } else rows = Array.from(found.inputs, (value, i) => ({ name: `${model.inputName(i)} ${figure(x[i])}`, value }));
    const shown = this.largest(rows, TOP_COLUMNS, "column");
    return h("section", {}, h("h3", {}, `What each column adds to ${name}`), barList(shown.map((/** @type {any} */ row) => ({ ...row, words: this.words(row.value) }))), check, how);
  }

  /** The largest of some rows, and the rest in one. @param {any[]} rows @param {number} most @param {string} word */
  largest(rows, most, word) {
    const sorted = rows.slice().sort((p, q) => (Number.isFinite(q.value) ? Math.abs(q.value) : Infinity) - (Number.isFinite(p.value) ? Math.abs(p.value) : Infinity));
    const shown = sorted.slice(0, most);
    const rest = sorted.slice(most);
    if (rest.length) shown.push({ name: `the rest, ${counted(rest.length, word)}`, value: rest.reduce((sum, row) => sum + row.value, 0) });
    return shown;
  }

  /** @param {import("./contributions.js").Contributions} found @param {number} output @param {import("./forward.js").LayerTrace[]} trace */
  layers(found, output, trace) {
    const { model } = this;
    const last = model.net.layers.length - 1;
    const parts = drawnLayers(model.net).filter(({ layer, index }) => index < last && layer.kind !== "Dropout" && layer.kind !== "Flatten").map(({ layer, index }) => {
      const { count, neuron } = unitsOf(layer);
      const sums = new Float64Array(count);
      found.layers[index].forEach((value, i) => { sums[neuron(i)] += value; });
      const isPicture = layer.output_shape.length > 1;
      const link = (/** @type {number} */ k) => h("button", { type: "button", class: "nw-link", signal: this.signal, on: { click: () => this.store.set({ layer: index, neuron: k, row: -1, column: -1, view: "neuron" }) } },
        `${model.neuronName(index, k)}${isPicture ? "" : ` a = ${figure(trace[index].a[k])}`}`);
      const rows = this.largest(Array.from(sums, (value, k) => ({ k, value })).filter(({ value }) => value !== 0), TOP_NEURONS, "neuron");
      const shown = rows.map((/** @type {any} */ row) => ({ name: row.name ?? link(row.k), value: row.value, words: this.words(row.value) }));
      return h("section", {}, h("h3", {}, `Through ${visible(layer.name, 24)}`), shown.length ? barList(shown) : h("p", {}, "No neuron adds anything."),
        this.check(found.steps ? "Where the way begins there is" : "The biases above give", found.below[index], sums, found.value, found));
    });
    return parts.length ? h("div", { class: "nw-columns" }, ...parts) : null;
  }
}
