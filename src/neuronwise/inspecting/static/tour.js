// "Follow one digit from pixels to answer": eight stops.

import { h, refill } from "./dom.js";
import { drawnLayers, strongest } from "./layout.js";
import { figure, signed, visible } from "./numbers.js";

/**
 * Return the stops of the tour: where each looks, and what it says.
 * @param {import("./model.js").Model} model
 * @param {import("./state.js").Store} store
 * @returns {{title: string, words: () => string, go: () => void}[]}
 */
export function tourStops(model, store) {
  const layers = drawnLayers(model.net).filter(({ layer }) => layer.parameters.W);
  const first = layers[0].index;
  const last = layers[layers.length - 1].index;
  const isPicture = model.inputs.kind === "picture";
  const what = isPicture ? "picture" : "row";
  const trace = () => model.trace(store.now.step, store.now.example);
  const loudest = (/** @type {number} */ index) => {
    const { layer } = { layer: model.net.layers[index] };
    const a = trace()[index].a;
    return layer.output_shape.length === 1 ? strongest(a, 1)[0] ?? 0 : 0;
  };
  return [
    { title: `One ${what}`, go: () => store.set({ step: model.delivered, view: "network" }),
      words: () => `The network is shown one ${what}: ${isPicture ? `${model.inputSize} pixels, each a number from 0 (nothing) to 1 (full)` : `${model.inputSize} numbers, each column scaled so that usual values lie near 0`}. These are the activations of the input.` },
    { title: "Layers of neurons", go: () => store.set({ view: "network" }),
      words: () => `Each circle or square is a neuron: it holds one number, its activation. The brighter, the larger. ${layers.map(({ layer }) => `${visible(layer.name, 20)} has ${layer.neurons}`).join(", ")}.` },
    { title: "One neuron", go: () => store.set({ layer: first, neuron: loudest(first), row: -1, column: -1, view: "neuron" }),
      words: () => `This is the most active neuron of the first layer. It multiplies each input by a weight, adds all products and its bias: z = Σ w·x + b. Blue weights speak for, orange ones against.` },
    { title: "Its sum", go: () => store.set({ layer: first, view: "neuron" }),
      words: () => { const { layer, neuron } = store.now; const z = trace()[layer].z; return `Below, the largest products stand in a table, the rest in one line, and the check that all of it adds up${z && model.net.layers[layer].output_shape.length === 1 ? `: z = ${signed(z[neuron])}` : ""}.`; } },
    { title: "The activation", go: () => store.set({ layer: first, view: "neuron" }),
      words: () => `z goes through ${model.net.layers[first].activation}: ${model.net.layers[first].activation_formula}. The point on the curve is where the neuron is now. The bias moves the threshold.` },
    { title: "Layer upon layer", go: () => store.set({ layer: layers[Math.min(1, layers.length - 1)].index, neuron: loudest(layers[Math.min(1, layers.length - 1)].index), row: -1, column: -1, view: "layer" }),
      words: () => `All neurons of a layer at once are one line of algebra, a = f(W x + b): row i of the matrix holds the weights of neuron i. What comes out goes into the next layer.` },
    { title: "The answer", go: () => store.set({ layer: last, neuron: model.outputs.task === "regression" ? 0 : Math.min(model.chosen(trace()[model.net.layers.length - 1].a), model.net.layers[last].neurons - 1), view: "answer" }),
      words: () => { const a = trace()[model.net.layers.length - 1].a; const { name, detail } = model.answer(a); return `The last layer answers ${name} (${detail}). Beside it: what each input adds to that answer.`; } },
    { title: "It had to learn this", go: () => store.set({ step: model.steps[0], view: "network" }),
      words: () => { const a = trace()[model.net.layers.length - 1].a; const { name } = model.answer(a); return `Now you see the network at step ${figure(model.steps[0], 6)}, before it learned: it answers ${name}. Press play below and watch the weights and the answer change.`; } },
  ];
}

export class Tour {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, signal) {
    this.root = root;
    this.signal = signal;
    this.stops = tourStops(model, store);
    this.place = -1;
  }

  start() {
    this.place = 0;
    this.show();
  }

  end() {
    this.place = -1;
    refill(this.root);
  }

  show() {
    const stop = this.stops[this.place];
    if (!stop) return this.end();
    stop.go();
    const button = (/** @type {string} */ words, /** @type {() => void} */ act, off = false) => h("button", { type: "button", disabled: off, signal: this.signal, on: { click: act } }, words);
    const next = button(this.place === this.stops.length - 1 ? "Done" : "Next", () => { this.place += 1; this.show(); });
    refill(this.root, h("section", { class: "nw-tourcard", role: "region", "aria-label": "Guided tour" },
      h("h3", {}, `${this.place + 1} of ${this.stops.length}: ${stop.title}`), h("p", { "aria-live": "polite" }, stop.words()),
      h("div", { class: "nw-line" }, button("Back", () => { this.place -= 1; this.show(); }, this.place === 0), next, button("End the tour", () => this.end()))));
    next.focus({ preventScroll: true });
    return undefined;
  }
}
