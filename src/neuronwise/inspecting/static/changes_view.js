// What was changed by hand, what it moved, and the way back.

import { h, refill } from "./dom.js";
import { drawnLayers } from "./layout.js";
import { counted, figure, whole } from "./numbers.js";
import { unitsOf } from "./forward.js";

/** Multiplications that asking all examples again may take. */
const MOST_ASKED = 60e6;
const MOST_MOVED = 6;

export class ChangesView {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, signal) {
    this.root = root;
    this.model = model;
    this.store = store;
    this.signal = signal;
  }

  update() {
    const { model, store, signal } = this;
    if (!model.isChanged) {
      refill(this.root);
      return;
    }
    const { step, example } = store.now;
    const [before, now] = [model.trace(step, example, true), model.trace(step, example)];
    const [was, is] = [before, now].map((trace) => model.answer(trace[trace.length - 1].a));
    const same = was.name === is.name && was.detail === is.detail;
    refill(this.root, h("div", { class: "nw-warning" },
      h("div", { class: "nw-line" }, h("b", {}, `${changesInWords(model)} by hand.`), h("button", { type: "button", signal, on: { click: () => { model.restore(); store.set({ focus: `restored ${model.changes}` }); } } }, "Restore the network")),
      h("p", {}, same ? `The answer stays ${is.name}, ${is.detail}.` : `The answer was ${was.name} (${was.detail}), now it is ${is.name} (${is.detail}).`, this.overall(step)),
      this.moved(before, now)));
  }

  /** How all examples are answered, before and after. @param {number} step */
  overall(step) {
    const { model } = this;
    if (!model.outputs.task || model.answered * model.work > MOST_ASKED) return "";
    const now = model.quality(step);
    let before = 0;
    for (let e = 0; e < model.answered; e++) {
      const trace = model.trace(step, e, true);
      const { a } = trace[trace.length - 1];
      const y = model.examples.y[e * model.outputsPerRow];
      if (model.outputs.task === "regression") before += Math.abs(model.unit(a[0]) - model.unit(y));
      else before += model.chosen(a) === y ? 1 : 0;
    }
    if (now === null || !model.answered) return "";
    before /= model.answered;
    if (model.outputs.task === "regression") return ` Over ${counted(model.answered, "example")} the mean absolute error goes from ${figure(before, 4)} to ${figure(now, 4)}.`;
    return ` Of ${counted(model.answered, "example")}, ${whole(now * model.answered)} are answered rightly instead of ${whole(before * model.answered)}.`;
  }

  /** The neurons that moved most. @param {import("./forward.js").LayerTrace[]} before @param {import("./forward.js").LayerTrace[]} now */
  moved(before, now) {
    const { model } = this;
    const found = [];
    for (const { layer, index } of drawnLayers(model.net)) {
      if (layer.output_shape.length > 1) continue;
      for (let k = 0; k < unitsOf(layer).count; k++) {
        const [p, q] = [before[index].a[k], now[index].a[k]];
        if (!Object.is(p, q)) found.push({ index, k, p, q, size: Number.isFinite(q - p) ? Math.abs(q - p) : Infinity });
      }
    }
    if (!found.length) return h("p", {}, "No neuron moves on this example.");
    found.sort((p, q) => q.size - p.size);
    return h("div", { class: "nw-line" }, h("span", {}, `${counted(found.length, "neuron")} moved, most:`), ...found.slice(0, MOST_MOVED).map(({ index, k, p, q }) =>
      h("button", { type: "button", class: "nw-small", signal: this.signal, on: { click: () => this.store.set({ layer: index, neuron: k, row: -1, column: -1, view: "neuron" }) } }, `${model.neuronName(index, k)} ${figure(p)} → ${figure(q)}`)));
  }
}

/** @param {import("./model.js").Model} model */
export function changesInWords(model) {
  const silenced = [...model.silenced].reduce((sum, [, set]) => sum + set.size, 0);
  return [silenced ? `${counted(silenced, "neuron")} silenced` : "", model.edits.size ? `${counted(model.edits.size, "weight or bias", "weights or biases")} changed` : ""].filter(Boolean).join(", ");
}
