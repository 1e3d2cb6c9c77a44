// The answer and why: what each input and each hidden neuron adds to it, and how it moved.

import { barList } from "./charts.js";
import { dataTable, h, openable, refill } from "./dom.js";
import { drawnLayers, strongest } from "./layout.js";
import { counted, figure, percent, signed, visible, whole } from "./numbers.js";
import { legend, picture } from "./pictures.js";
import { largestSize } from "./scales.js";

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
    const right = model.right(example);
    const answer = model.answer(last.a);
    refill(this.root,
      h("div", { class: "nw-headline" }, h("h2", { tabindex: "-1" }, `The answer: ${answer.name}`), last.a.length > 1 ? h("label", {}, "Explain ", h("select", { signal: this.signal, on: { change: (/** @type {any} */ event) => { this.output = event.target.value === "" ? null : Number(event.target.value); this.update(); } } },
        h("option", { value: "", selected: this.output === null }, "the answer"), ...Array.from(last.a, (_, i) => h("option", { value: i, selected: this.output === i }, model.outputName(i))))) : null),
      h("p", { class: "nw-lead" }, `${answer.detail}.`, right === null ? (example < 0 ? " What is right, only you know." : "") : ` Right is ${right}.`),
      this.moved(step, example),
      h("div", { class: "nw-columns" }, this.outputs(last, output), this.inputs(step, example, output, last)),
      this.layers(step, example, output));
  }

  /** @param {import("./forward.js").LayerTrace} last @param {number} output */
  outputs(last, output) {
    const { model } = this;
    if (last.a.length === 1 && model.outputs.task === "regression") return null;
    const rows = last.a.length === 1 && model.outputs.task === "binary" ? [{ name: model.className(1), value: last.a[0] }, { name: model.className(0), value: 1 - last.a[0] }] : Array.from(last.a, (value, i) => ({ name: model.outputName(i), value, strong: i === output }));
    const shown = rows.length > 14 ? rows.slice().sort((p, q) => q.value - p.value).slice(0, 14) : rows;
    const share = model.outputs.task !== null && model.outputs.task !== "regression";
    return h("section", {}, h("h3", {}, "All outputs"), barList(shown.map((row) => ({ ...row, words: share ? percent(row.value) : figure(row.value) })), share ? 1 : undefined));
  }

  /** @param {number} step @param {number} example @param {number} output @param {import("./forward.js").LayerTrace} last */
  inputs(step, example, output, last) {
    const { model } = this;
    const [dx] = model.gradients(step, example, output);
    const x = model.input(example);
    // From the average row, where there is one: a house is explained by how it differs from the usual one.
    const base = model.inputs.kind === "picture" ? null : model.meanInput;
    const added = Float64Array.from(x, (value, i) => dx[i] * (value - (base ? base[i] : 0)));
    const total = added.reduce((sum, value) => sum + value, 0);
    const z = last.z ? last.z[output] : last.a[output];
    const name = model.outputs.task === "regression" ? visible(model.outputs.target, 30) : model.outputName(output);
    const words = `Added up they come to ${signed(total, 4)}; z of the output is ${signed(z, 4)}, so ${signed(z - total, 4)} is there ${base ? "of the average row and the biases" : "without any input: the biases"}. Input × gradient; for ReLU networks it is exact here, elsewhere a local approximation.`;
    if (model.inputs.kind === "picture" && (model.inputs.shape[2] ?? 1) === 1) {
      const [rows, columns] = model.inputs.shape;
      return h("section", {}, h("h3", {}, `What each pixel adds to ${name}`), picture(added, { rows, columns }, { side: 170, mode: "signed", theme: this.theme, title: `What each pixel adds to ${name}`, caption: "for it blue, against it orange" }),
        legend(largestSize(added), this.theme, "added to z"), h("p", { class: "nw-note" }, words),
        openable("As a table", () => dataTable("The pixels that add most", ["pixel", "value", "adds to z"], strongest(added, 40).map((i) => [model.inputName(i), figure(x[i]), signed(added[i])]))));
    }
    let rows;
    if (model.inputs.kind === "table") {
      rows = model.inputs.columns.map((/** @type {import("./encode.js").Column} */ column) => ({
        name: `${visible(column.name, 26)} ${model.cellWords(column, x)}`, value: column.inputs.reduce((sum, input) => sum + added[input.place], 0),
      }));
    } else rows = Array.from(added, (value, i) => ({ name: `${model.inputName(i)} ${figure(x[i])}`, value }));
    rows.sort((/** @type {any} */ p, /** @type {any} */ q) => Math.abs(q.value) - Math.abs(p.value));
    const rest = rows.slice(12);
    const shown = rows.slice(0, 12);
    if (rest.length) shown.push({ name: `the rest, ${counted(rest.length, "column")}`, value: rest.reduce((/** @type {number} */ sum, /** @type {any} */ row) => sum + row.value, 0) });
    return h("section", {}, h("h3", {}, `What each column adds to ${name}`), barList(shown), h("p", { class: "nw-note" }, words));
  }

  /** @param {number} step @param {number} example @param {number} output */
  layers(step, example, output) {
    const { model } = this;
    const found = model.gradients(step, example, output);
    const trace = model.trace(step, example);
    const parts = drawnLayers(model.net).filter(({ layer, index }) => index < model.net.layers.length - 1 && layer.output_shape.length === 1 && layer.activation !== "softmax").map(({ layer, index }) => {
      const a = trace[index].a;
      const added = Float64Array.from(a, (value, i) => value * found[index + 1][i]);
      const top = strongest(added, 6);
      return h("section", {}, h("h3", {}, `Through ${layer.name}`), h("ul", { class: "nw-plain" }, ...top.map((k) => h("li", {},
        h("button", { type: "button", class: "nw-link", signal: this.signal, on: { click: () => this.store.set({ layer: index, neuron: k, row: -1, column: -1, view: "neuron" }) } }, model.neuronName(index, k)),
        ` a = ${figure(a[k])} adds ${signed(added[k])}`))), top.length ? null : h("p", {}, "No neuron is active."));
    });
    return parts.length ? h("div", { class: "nw-columns" }, ...parts) : null;
  }

  /** What was changed by hand, and what it did. @param {number} step @param {number} example */
  moved(step, example) {
    const { model } = this;
    if (!model.isChanged) return null;
    const before = model.trace(step, example, true);
    const was = model.answer(before[before.length - 1].a);
    const is = model.answer(model.trace(step, example)[before.length - 1].a);
    return h("p", { class: "nw-warning" }, `Changed by hand: without your changes the answer was ${was.name} (${was.detail}), now it is ${is.name} (${is.detail}).`);
  }
}

/** @param {import("./model.js").Model} model */
export function changesInWords(model) {
  const silenced = [...model.silenced].reduce((sum, [, set]) => sum + set.size, 0);
  return [silenced ? `${counted(silenced, "neuron")} silenced` : "", model.edits.size ? `${counted(model.edits.size, "weight")} changed` : ""].filter(Boolean).join(", ") || whole(0);
}
