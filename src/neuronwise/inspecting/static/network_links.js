// Which links of a network are drawn: the strongest of each layer, or those of one neuron.

import { strongest } from "./layout.js";
import { product, unitsOf } from "./forward.js";
import { largestSize } from "./scales.js";

const MOST_LINKS = 220;
const MOST_OF_ONE = 160;

/**
 * @typedef {import("./layout.js").Panel} Panel
 * @typedef {{panel: Panel, unit: number}} Looked a neuron that is looked at
 * @typedef {{from: Panel, to: Panel, source: number, unit: number, value: number, index: number, limit: number}} Link
 * @typedef {{links: Link[], count: number, limit: number}} Found `count`: of how many weights
 */

export class LinkFinder {
  /** @param {import("./model.js").Model} model @param {import("./state.js").Selection} now */
  constructor(model, now) {
    this.model = model;
    this.now = now;
  }

  /**
   * Return the strongest links of each layer, or those of the neuron that is looked at.
   * @param {import("./state.js").Selection} now
   * @param {Panel[]} panels
   * @param {import("./forward.js").LayerTrace[]} trace
   * @param {Looked | null} looked
   * @returns {Found}
   */
  find(now, panels, trace, looked) {
    this.now = now;
    const { step, links: kind } = now;
    const { parameters } = this.model.at(step);
    /** @type {Link[]} */
    const found = [];
    let [count, largest] = [0, 0];
    for (let p = 1; p < panels.length; p++) {
      const to = panels[p];
      const from = panels[p - 1];
      const layer = this.model.net.layers[to.index];
      if (!layer.parameters.W) continue;
      const x = trace[to.index].x;
      const { offset, shape } = layer.parameters.W;
      const isDense = layer.kind === "Dense";
      const [units, sources] = isDense ? shape : [shape[0], shape[1]];
      const values = linkValues(layer, kind, x, parameters);
      count += isDense ? values.length : product(shape);
      const only = focusOf(to, from, looked);
      let picked;
      if (only && only.panel === to) picked = strongest(values.subarray(only.unit * sources, (only.unit + 1) * sources), MOST_OF_ONE).map((i) => i + only.unit * sources);
      else if (only) {
        const column = Float32Array.from({ length: units }, (_, o) => Math.max(...this.sourcesOf(from, only.unit, sources).map((i) => Math.abs(values[o * sources + i]))));
        picked = strongest(column, MOST_OF_ONE).flatMap((o) => this.sourcesOf(from, only.unit, sources).map((i) => o * sources + i)).slice(0, MOST_OF_ONE);
      } else {
        const most = Math.ceil(MOST_LINKS / Math.max(1, panels.length - 2)) + 40;
        picked = this.remembered(`${kind} ${to.index}`, () => strongest(values, most));
      }
      const limit = this.remembered(`${kind} ${to.index} limit`, () => largestSize(values));
      largest = Math.max(largest, limit);
      for (const at of picked) {
        found.push({ from, to, unit: Math.floor(at / sources), source: at % sources, value: values[at], index: p, limit });
      }
    }
    return { links: found, count, limit: largest };
  }

  /**
   * What is found of the weights of a layer, so long as they, and the example, are the same.
   * @template T
   * @param {string} key
   * @param {() => T} make
   * @returns {T}
   */
  remembered(key, make) {
    const { step, example } = this.now;
    return this.model.cached(`trace links ${this.model.changes} ${this.model.madeCount} ${step} ${key.startsWith("signals") ? example : ""} ${key}`, make);
  }

  /** Inputs of a layer that come from one neuron of the panel before it: of a feature map its places. */
  sourcesOf(/** @type {Panel} */ from, /** @type {number} */ unit, /** @type {number} */ count) {
    if (from.form !== "maps" || count === from.count) return [unit];
    const { neuron } = unitsOf(this.model.net.layers[from.index]);
    const found = [];
    for (let i = 0; i < count; i++) if (neuron(i) === unit) found.push(i);
    return found;
  }
}

/**
 * What each link of a layer carries, (neurons × sources).
 * @param {import("./forward.js").Layer} layer
 * @param {string} kind
 * @param {Float32Array} x
 * @param {Float32Array} parameters
 */
function linkValues(layer, kind, x, parameters) {
  const { offset, shape } = layer.parameters.W;
  const [units, sources] = shape;
  if (layer.kind === "Dense") {
    const weights = parameters.subarray(offset, offset + units * sources);
    if (kind !== "signals") return weights;
    const values = new Float32Array(units * sources);
    for (let o = 0, at = 0; o < units; o++) for (let i = 0; i < sources; i++, at++) values[at] = weights[at] * x[i];
    return values;
  }
  // Of a filter and a channel: the size of the kernel between them, with the sign of its sum.
  const values = new Float32Array(units * sources);
  const kernel = shape[2] * shape[3];
  for (let at = 0; at < values.length; at++) {
    let [sum, square] = [0, 0];
    for (let k = 0; k < kernel; k++) {
      const w = parameters[offset + at * kernel + k];
      sum += w;
      square += w * w;
    }
    values[at] = Math.sign(sum) * Math.sqrt(square);
  }
  return values;
}

/** The neuron whose links alone are shown, if it stands in one of two panels. */
function focusOf(/** @type {Panel} */ to, /** @type {Panel} */ from, /** @type {Looked | null} */ looked) {
  return looked && (looked.panel === to || (looked.panel === from && from.form !== "picture")) ? looked : null;
}
