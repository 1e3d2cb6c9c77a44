// "Follow one digit from pixels to answer": eight stops. For a run of a table: one row from its columns to the answer.

import { h, refill } from "./dom.js";
import { drawnLayers, strongest } from "./layout.js";
import { counted, figure, signed, visible, whole } from "./numbers.js";
import { brightestPlace, outputIndex } from "./sums.js";

/** @typedef {{title: string, spot: string, words: () => string, go: () => void}} Stop `spot`: what is framed meanwhile */

/**
 * Return the stops of the tour: where each looks, and what it says, with the numbers that are there.
 * @param {import("./model.js").Model} model
 * @param {import("./state.js").Store} store
 * @returns {Stop[]}
 */
export function tourStops(model, store) {
  const layers = drawnLayers(model.net).filter(({ layer }) => layer.parameters.W);
  const first = layers[0].index;
  const second = layers[Math.min(1, layers.length - 1)].index;
  const last = layers[layers.length - 1].index;
  const end = model.net.layers.length - 1;
  const isPicture = model.inputs.kind === "picture";
  const what = isPicture ? (model.outputs.classes.length === 10 && model.outputs.classes.every((/** @type {string} */ name, /** @type {number} */ id) => name === String(id)) ? "digit" : "picture") : "row";
  const parts = isPicture ? "pixels" : "columns";
  const trace = () => model.trace(store.now.step, store.now.example);
  const loudest = (/** @type {number} */ index) => {
    const layer = model.net.layers[index];
    const { a } = trace()[index];
    if (layer.output_shape.length === 1) return strongest(a, 1)[0] ?? 0;
    const peaks = Array.from({ length: layer.neurons }, (_, k) => a[outputIndex(layer, k, brightestPlace(layer, a, k))]);
    return strongest(peaks, 1)[0] ?? 0;
  };
  const zOf = () => {
    const { layer, neuron } = store.now;
    const { z, a } = trace()[layer];
    const at = outputIndex(model.net.layers[layer], neuron, brightestPlace(model.net.layers[layer], a, neuron));
    return z ? z[at] : a[at];
  };
  const answer = () => model.answer(trace()[end].a);
  const right = () => { const known = model.right(store.now.example); return known === null ? "" : ` Right is ${known}.`; };
  const begin = () => store.set({ step: model.delivered, example: store.now.example < 0 && model.examples.count ? 0 : store.now.example });
  const f = model.net.layers[first].activation ?? "identity";
  return [
    { title: isPicture ? `One ${what}` : "One row of the table", spot: ".nw-inputcard", go: () => { begin(); store.set({ view: "neuron" }); },
      words: () => `We follow one ${what} from ${parts} to answer. For the network it is ${isPicture ? `${whole(model.inputSize)} numbers, one for each pixel: 0 is nothing, 1 is full ink` : `${counted(model.inputSize, "number")}: each column is scaled so that usual values lie near 0, and each category is a number that is 1 or 0`}. They are the activations of the input.` },
    { title: "Layers of neurons", spot: ".nw-networkcard", go: () => undefined,
      words: () => `Each circle or square holds one number, its activation; the brighter, the larger. ${layers.map(({ layer }) => `${visible(layer.name, 20)} has ${whole(layer.neurons)}`).slice(0, 6).join(", ")}. The lines are weights: blue where positive, orange and dashed where negative.` },
    { title: "One neuron", spot: ".nw-equation", go: () => store.set({ layer: first, neuron: loudest(first), row: -1, column: -1, view: "neuron" }),
      words: () => `${model.neuronName(store.now.layer, store.now.neuron)} is the most active of the first layer. It multiplies each input by a weight of its own and adds all products and its bias: z = Σ w·x + b = ${signed(zOf(), 4)}.` },
    { title: isPicture ? "Weight × input = product" : "Its sum, term by term", spot: isPicture ? ".nw-three" : ".nw-terms", go: () => store.set({ view: "neuron" }),
      words: () => (isPicture ? "Its weights are a picture too. Where ink meets blue, the product speaks for the neuron; where it meets orange, against it. Under the pictures the same sum stands as a table: the largest terms, the rest in one line, and the check that all of it adds up."
        : "The largest products come first, the rest in one line, and the bias. All of it adds up to z, which is checked above. Click a weight to change it, and see what moves.") },
    { title: "The activation", spot: ".nw-curve", go: () => store.set({ view: "neuron" }),
      words: () => `z goes through ${f}: ${model.net.layers[first].activation_formula ?? "a = z"}. The point on the curve is where the neuron is now: a = ${figure(f === "identity" ? zOf() : trace()[store.now.layer].a[outputIndex(model.net.layers[store.now.layer], store.now.neuron, brightestPlace(model.net.layers[store.now.layer], trace()[store.now.layer].a, store.now.neuron))])}. The bias moves the threshold: without it the neuron would fire where Σ w·x is above 0.` },
    { title: "Layer upon layer", spot: ".nw-algebra, .nw-kernels, .nw-panel", go: () => store.set({ layer: second, neuron: loudest(second), row: -1, column: -1, view: "layer" }),
      words: () => "All neurons of a layer at once are one line of algebra, a = f(W x + b): row i of the matrix holds the weights of neuron i. What comes out is what the next layer is given, and so on to the last." },
    { title: "The answer, and why", spot: ".nw-panel .nw-columns", go: () => store.set({ layer: last, neuron: model.outputs.task === "regression" ? 0 : Math.min(model.chosen(trace()[end].a), model.net.layers[last].neurons - 1), view: "answer" }),
      words: () => `The network answers ${answer().name} (${answer().detail}).${right()} Below: what each of the ${parts} adds to that answer, and what each hidden neuron adds. Every sum is checked.` },
    { title: "It had to learn this", spot: ".nw-footer", go: () => store.set({ step: model.steps[0], view: "answer" }),
      words: () => `This is the network at step ${figure(model.steps[0], 6)}${model.steps[0] === 0 ? ", before it learned anything" : ""}: it answers ${answer().name} (${answer().detail}).${right()} Press play, or move the slider, and watch weights and answer change. ${isPicture ? "Then draw one of your own." : model.inputs.kind === "table" ? "Then edit the row and see its answer move." : ""}` },
  ];
}

export class Tour {
  /**
   * @param {HTMLElement} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {{still: boolean}} theme
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, theme, signal) {
    this.root = root;
    this.theme = theme;
    this.signal = signal;
    this.stops = tourStops(model, store);
    this.title = this.stops[0].title.startsWith("One row") ? "Follow one row from columns to answer" : `Follow one ${this.stops[0].title.slice(4)} from pixels to answer`;
    this.place = -1;
    /** @type {Element | null} */
    this.before = null;
  }

  start() {
    this.before = document.activeElement;
    this.place = 0;
    this.show();
  }

  end() {
    if (this.place < 0) return;
    this.place = -1;
    this.frame("");
    refill(this.root);
    if (this.before?.isConnected) /** @type {HTMLElement} */ (this.before).focus({ preventScroll: true });
  }

  /** Frame what the stop speaks of, and bring it into sight. @param {string} selector */
  frame(selector) {
    const page = this.root.parentElement;
    for (const old of page?.querySelectorAll(".nw-spot") ?? []) old.classList.remove("nw-spot");
    const one = selector ? selector.split(", ").map((place) => page?.querySelector(place)).find(Boolean) : null;
    const found = one?.closest(".nw-scroll") ?? one; // which would cut off the frame of what scrolls in it
    if (!found) return;
    found.classList.add("nw-spot");
    // Neither under the words of the stop nor under the time; of what is larger than the room between, its beginning.
    const [above, below] = [this.root.offsetHeight + 16, /** @type {HTMLElement} */ (page?.querySelector(".nw-footer")).offsetHeight + 14];
    /** @type {HTMLElement} */ (found).style.scrollMargin = `${above}px 0 ${below}px`;
    const isLarge = found.getBoundingClientRect().height > window.innerHeight - above - below;
    found.scrollIntoView({ block: isLarge ? "start" : "nearest", behavior: this.theme.still ? "auto" : "smooth" });
  }

  show() {
    const stop = this.stops[this.place];
    if (!stop) {
      this.end();
      return;
    }
    stop.go();
    const button = (/** @type {string} */ words, /** @type {() => void} */ act, off = false) => h("button", { type: "button", disabled: off, "aria-describedby": "nw-tour-words", signal: this.signal, on: { click: act } }, words);
    const next = button(this.place === this.stops.length - 1 ? "Done" : "Next", () => { this.place += 1; this.show(); });
    refill(this.root, h("section", { class: "nw-tourcard", role: "region", "aria-label": this.title },
      h("p", { class: "nw-note" }, this.title), h("h3", {}, `${this.place + 1} of ${this.stops.length}: ${stop.title}`), h("p", { id: "nw-tour-words" }, stop.words()),
      h("div", { class: "nw-line" }, button("Back", () => { this.place -= 1; this.show(); }, this.place === 0), next, button("End the tour", () => this.end()))));
    next.focus({ preventScroll: true }); // which reads the stop's words to who hears the page
    // What the stop speaks of is drawn with the next frame.
    requestAnimationFrame(() => requestAnimationFrame(() => { if (this.stops[this.place] === stop) this.frame(stop.spot); }));
  }
}
