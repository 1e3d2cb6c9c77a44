// The run as the views ask for it: its network at any step, its examples, and what was changed by hand.

import { gradients } from "./backward.js";
import { unpack } from "./decode.js";
import { forward, product, unitsOf } from "./forward.js";
import { NamedRun } from "./naming.js";
import { figure, percent, visible } from "./numbers.js";
import { MOST_KEPT_NUMBERS } from "./run_data.js";

/** Multiplications that answering for all examples at once may take. */
const MOST_WORK = 250e6;

export class Model extends NamedRun {
  /** @param {any} payload what Python's build_payload made */
  constructor(payload) {
    super(payload);
    /** Changed parameters, by their place in the flat array. @type {Map<number, number>} */
    this.edits = new Map();
    /** @type {import("./forward.js").Silenced} */
    this.silenced = new Map();
    this.changes = 0;
    /** What the user drew or typed; null: nothing. @type {Float32Array | null} */
    this.made = null;
    this.madeCount = 0;
    const shown = payload.examples;
    this.examples = shown
      ? { X: scaleDown(unpack(shown.X), shown.divided_by), y: unpack(shown.y), rows: shown.rows, count: shown.rows.length, part: shown.part, of: shown.of }
      : { X: new Float32Array(0), y: new Float64Array(0), rows: [], count: 0, part: "", of: 0 };
    this.outputsPerRow = this.examples.count ? this.examples.y.length / this.examples.count : 1;
    this.meanInput = payload.mean_input ? unpack(payload.mean_input) : null;
    this.work = this.net.layers.reduce((all, layer) => all + workOf(layer), 0);
    /** How many numbers a trace holds. */
    this.traceSize = this.net.layers.reduce((all, layer) => all + 2 * product(layer.output_shape), 0);
  }

  /**
   * Return all weights after a step, as they were, or with what was changed by hand.
   * @param {number} step
   * @param {boolean} [untouched]
   * @returns {{parameters: Float32Array, buffers: Float32Array}}
   */
  at(step, untouched = false) {
    const state = this.recorded(step);
    if (untouched || !this.edits.size) return state;
    return this.cached(`edited ${step}`, () => {
      const parameters = state.parameters.slice();
      for (const [place, value] of this.edits) parameters[place] = value;
      return { parameters, buffers: state.buffers };
    }, this.net.parameter_count);
  }

  /** Return one input, flat: an example of the data, or −1: what was made. @param {number} example */
  input(example) {
    if (example >= 0 && example < this.examples.count) {
      return this.examples.X.subarray(example * this.inputSize, (example + 1) * this.inputSize);
    }
    return this.made ?? new Float32Array(this.inputSize);
  }

  /** @param {Float32Array | null} x */
  make(x) {
    this.made = x;
    this.madeCount += 1;
    this.memory.forgetAll((key) => key.startsWith("trace") && key.endsWith(" -1"));
  }

  /**
   * Return z and a of every layer for one example.
   * @param {number} step
   * @param {number} example
   * @param {boolean} [untouched] without what was changed by hand
   */
  trace(step, example, untouched = false) {
    const bare = untouched || (!this.edits.size && !this.silenced.size);
    return this.cached(`trace ${bare ? "bare" : this.changes} ${step} ${example}`, () => {
      const { parameters, buffers } = this.at(step, untouched);
      return forward(this.net, parameters, buffers, this.input(example), untouched ? undefined : this.silenced);
    }, this.traceSize);
  }

  /**
   * Return d z[output] / d (input of each layer), see `gradients`.
   * @param {number} step
   * @param {number} example
   * @param {number} output
   */
  gradients(step, example, output) {
    const { parameters, buffers } = this.at(step);
    return gradients(this.net, parameters, buffers, this.trace(step, example), output, undefined, this.silenced);
  }

  /** How many of the examples all can be answered for at once. */
  get answered() {
    const most = Math.min(MOST_WORK / Math.max(this.work, 1), (0.6 * MOST_KEPT_NUMBERS) / this.traceSize);
    return Math.min(this.examples.count, Math.max(1, Math.floor(most)));
  }

  /**
   * Return the activation of every neuron of a layer for the examples, (examples × neurons); of a picture the mean over
   * its places.
   * @param {number} step
   * @param {number} index
   */
  acrossExamples(step, index) {
    return this.cached(`across ${this.changes} ${step} ${index}`, () => {
      const layer = this.net.layers[index];
      const { count, neuron } = unitsOf(layer);
      const places = product(layer.output_shape) / count;
      const all = new Float32Array(this.answered * count);
      for (let e = 0; e < this.answered; e++) {
        const a = this.trace(step, e)[index].a;
        for (let i = 0; i < a.length; i++) all[e * count + neuron(i)] += a[i] / places;
      }
      return { values: all, count, examples: this.answered };
    }, this.answered * unitsOf(this.net.layers[index]).count);
  }

  /**
   * Return how well the examples are answered: the share of right classes, or the mean absolute error in the unit of
   * the target. Null without examples or targets.
   * @param {number} step
   * @param {import("./forward.js").Silenced} [silenced] beside what is silenced already
   * @param {number} [from] the first layer that differs
   */
  quality(step, silenced, from = 0) {
    if (!this.answered || !this.outputs.task) return null;
    const { parameters, buffers } = this.at(step);
    let sum = 0;
    for (let e = 0; e < this.answered; e++) {
      const known = this.trace(step, e);
      const trace = silenced ? forward(this.net, parameters, buffers, this.input(e), merge(this.silenced, silenced), { from, trace: known }) : known;
      const a = trace[trace.length - 1].a;
      if (this.outputs.task === "regression") sum += Math.abs(this.unit(a[0]) - this.unit(this.examples.y[e * this.outputsPerRow]));
      else sum += this.chosen(a) === this.examples.y[e * this.outputsPerRow] ? 1 : 0;
    }
    return sum / this.answered;
  }

  /**
   * Return an answer in words, and how sure it is.
   * @param {ArrayLike<number>} a
   * @returns {{name: string, detail: string}}
   */
  answer(a) {
    if (this.outputs.task === "regression") {
      return { name: figure(this.unit(a[0]), 5), detail: visible(this.outputs.target) };
    }
    const best = this.chosen(a);
    const share = this.outputs.task === "binary" ? (best ? a[0] : 1 - a[0]) : a[best];
    if (!this.outputs.task) return { name: a.length > 1 ? this.outputName(best) : figure(a[0]), detail: a.length > 1 ? figure(share) : this.outputName(0) };
    return { name: this.className(best), detail: percent(share) };
  }

  /** Return what is right for an example, in words; null where it is not known. @param {number} example */
  right(example) {
    if (example < 0 || example >= this.examples.count || !this.outputs.task) return null;
    const y = this.examples.y[example * this.outputsPerRow];
    return this.outputs.task === "regression" ? figure(this.unit(y), 5) : this.className(y);
  }

  /** Whether an example is answered rightly at a step; null where there are no classes. @param {number} step @param {number} example */
  isRight(step, example) {
    if (example < 0 || !this.outputs.task || this.outputs.task === "regression") return null;
    const trace = this.trace(step, example);
    return this.chosen(trace[trace.length - 1].a) === this.examples.y[example * this.outputsPerRow];
  }

  /** @param {number} index @param {number} neuron */
  isSilenced(index, neuron) {
    return this.silenced.get(index)?.has(neuron) ?? false;
  }

  /** @param {number} index @param {number} neuron */
  toggleSilence(index, neuron) {
    const set = this.silenced.get(index) ?? new Set();
    if (!set.delete(neuron)) set.add(neuron);
    if (set.size) this.silenced.set(index, set);
    else this.silenced.delete(index);
    this.changed();
  }

  /** @param {number} place @param {number} value */
  edit(place, value) {
    this.edits.set(place, value);
    this.changed();
  }

  restore() {
    this.edits.clear();
    this.silenced.clear();
    this.changed();
  }

  get isChanged() {
    return this.edits.size > 0 || this.silenced.size > 0;
  }

  changed() {
    this.changes += 1;
    this.memory.forgetAll((key) => /^(trace \d|edited|across)/.test(key));
  }
}

/** @param {import("./forward.js").Layer} layer */
function workOf(layer) {
  if (layer.kind === "Conv2D") {
    const { shape } = layer.parameters.W;
    return (product(layer.output_shape) / shape[0]) * product(shape);
  }
  return layer.kind === "Dense" ? product(layer.parameters.W.shape) : product(layer.input_shape);
}

/** @param {ArrayLike<number>} values @param {number} divisor */
function scaleDown(values, divisor) {
  return Float32Array.from(values, (value) => Math.fround(value) / divisor);
}

/** @param {import("./forward.js").Silenced} first @param {import("./forward.js").Silenced} second */
function merge(first, second) {
  const both = new Map([...first].map(([key, set]) => [key, new Set(set)]));
  for (const [key, set] of second) both.set(key, new Set([...(both.get(key) ?? []), ...set]));
  return both;
}

