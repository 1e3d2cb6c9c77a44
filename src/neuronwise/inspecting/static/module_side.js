// Beside the modules of a model whose answers cannot be computed here: what their cells show, and why there are no answers.

import { h, refill } from "./dom.js";
import { visible } from "./numbers.js";
import { QUANTITIES, quantity } from "./quantities.js";

export class ModuleSide {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {{palette: any, dark: boolean, still: boolean}} theme
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, theme, signal) {
    this.model = model;
    this.store = store;
    const known = new Set(model.statistics?.fields ?? []);
    this.select = h("select", { signal, "aria-label": "What the cells show", on: { change: (/** @type {any} */ event) => store.set({ show: event.target.value }) } },
      ...QUANTITIES.filter(({ name }) => known.has(name)).map(({ name, words }) => h("option", { value: name }, words)));
    this.means = h("p", { class: "nw-note" });
    this.names = h("datalist", { id: "nw-modulenames" }, ...model.net.layers.slice(0, 2000).map((layer) => h("option", { value: layer.name })));
    this.search = h("input", { type: "search", class: "nw-goto", list: "nw-modulenames", placeholder: "module[neuron]", "aria-label": "Go to a module or a neuron", signal, on: { change: () => this.go() } });
    this.said = h("p", { class: "nw-note", role: "status" });
    root.append(h("h2", { class: "nw-sectionname" }, "What the cells show"), known.size ? this.select : h("p", { class: "nw-empty" }, "No statistics of neurons are in this page."), this.means,
      h("h3", { class: "nw-next nw-goto" }, "Go to"), this.search, this.names, this.said, h("h3", { class: "nw-next" }, "No example is shown"), h("p", { class: "nw-note" }, noForwardPass(model)));
  }

  go() {
    const found = this.model.find(this.search.value.trim());
    this.said.textContent = found || !this.search.value ? "" : `There is no module or neuron ${visible(this.search.value, 40)}.`;
    if (found) this.store.set({ layer: found.layer, neuron: found.neuron ?? 0, view: found.neuron === null ? "layer" : "neuron" });
  }

  update() {
    const { show } = this.store.now;
    this.select.value = show;
    this.means.textContent = quantity(show).means;
    refill(this.names, ...this.names.childNodes);
  }

  move() {}
  drawPad() {}
}

/** Why answers are not computed here, and what to do. @param {import("./model.js").Model} model */
export function noForwardPass(model) {
  const { why } = /** @type {any} */ (model.net);
  return `The page cannot compute what this model answers: ${visible(why || "its code is not here", 300)}. A model that is an nn.Sequential of known layers can be looked at with examples; of any other, ask in Python: neuronwise.explain(model, x).`;
}
