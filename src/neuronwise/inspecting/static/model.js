// The run as the views ask for it: its network at any step, its examples, and what was changed by hand.

import { gradients } from "./backward.js";
import { unpack } from "./decode.js";
import { decodeCell, unscaleInput } from "./encode.js";
import { forward, product, unitsOf } from "./forward.js";
import { figure, percent, rounded, visible } from "./numbers.js";
import { Memory } from "./memory.js";
import { formatOf } from "./sums.js";

/** Multiplications that answering for all examples at once may take. */
const MOST_WORK = 250e6;
/** Numbers of traces and the like that are kept. */
const MOST_KEPT_NUMBERS = 40e6;
/** Numbers of states of the network that are kept. */
const MOST_STATE_NUMBERS = 30e6;

export class Model {
  /** @param {any} payload what Python's build_payload made */
  constructor(payload) {
    if (!payload || payload.format !== "neuronwise-inspector") throw new Error("this is no data of the inspector");
    this.payload = payload;
    /** @type {import("./forward.js").Net} */
    this.net = payload.network;
    this.inputs = payload.inputs;
    this.outputs = payload.outputs;
    this.inputSize = product(this.net.input_shape);
    /** @type {number} */
    this.delivered = payload.weights.delivered;
    /** @type {Map<number, {parameters: Float32Array, buffers: Float32Array}>} */
    this.states = new Map();
    this.packed = new Map(payload.weights.states.map((/** @type {any} */ state) => [state.step, state]));
    /** Steps that can be looked at. @type {number[]} */
    this.steps = payload.weights.every ? range(payload.weights.every) : [...this.packed.keys()].sort((p, q) => p - q);
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
    this.memory = new Memory(MOST_KEPT_NUMBERS);
    this.work = this.net.layers.reduce((all, layer) => all + workOf(layer), 0);
    /** How many numbers a trace holds. */
    this.traceSize = this.net.layers.reduce((all, layer) => all + 2 * product(layer.output_shape), 0);
    const stats = payload.statistics;
    this.statistics = stats && stats.values ? { ...stats, values: unpack(stats.values) } : null;
  }

  /** Whether the network at a step is here, or must be asked for. @param {number} step */
  has(step) {
    return this.packed.has(step) || this.states.has(step);
  }

  /**
   * Take in the weights of a step that a server sent.
   * @param {number} step
   * @param {Float32Array} parameters
   * @param {Float32Array} buffers
   */
  take(step, parameters, buffers) {
    this.states.set(step, { parameters, buffers });
    this.memory.forgetAll(); // what was shown of this step was that of another
    const most = Math.max(8, Math.floor(MOST_STATE_NUMBERS / (parameters.length + buffers.length + 1)));
    for (const known of this.states.keys()) {
      if (this.states.size <= most) break;
      if (known !== step) this.states.delete(known);
    }
  }

  /**
   * Take in what came of a training that runs; the newest state counts as the delivered one.
   * @param {{states: any[], training: any}} news
   */
  extend(news) {
    for (const state of news.states) {
      if (!this.packed.has(state.step)) this.steps.push(state.step);
      this.packed.set(state.step, state);
    }
    this.steps.sort((p, q) => p - q);
    this.delivered = this.steps[this.steps.length - 1];
    this.payload.training = news.training;
    // A page that follows for hours keeps the first, the last and some between: where they stand closest, one goes.
    while (this.packed.size * this.net.parameter_count > MOST_STATE_NUMBERS && this.steps.length > 24) {
      let closest = 1;
      for (let i = 2; i < this.steps.length - 1; i++) {
        if (this.steps[i + 1] - this.steps[i - 1] < this.steps[closest + 1] - this.steps[closest - 1]) closest = i;
      }
      const [gone] = this.steps.splice(closest, 1);
      this.packed.delete(gone);
      this.states.delete(gone);
    }
  }

  /** Return the step nearest to one whose weights are here. @param {number} step */
  nearest(step) {
    let best = this.delivered;
    for (const known of [...this.packed.keys(), ...this.states.keys()]) {
      if (Math.abs(known - step) < Math.abs(best - step)) best = known;
    }
    return best;
  }

  /**
   * Return all weights after a step, as they were, or with what was changed by hand.
   * @param {number} step
   * @param {boolean} [untouched]
   * @returns {{parameters: Float32Array, buffers: Float32Array}}
   */
  at(step, untouched = false) {
    let state = this.states.get(step);
    if (!state) {
      const packed = this.packed.get(step);
      if (!packed) return this.at(this.nearest(step), untouched);
      state = {
        parameters: /** @type {Float32Array} */ (unpack(packed.parameters)),
        buffers: /** @type {Float32Array} */ (unpack(packed.buffers)),
      };
      this.states.set(step, state);
    }
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

  /** Return the class that is answered. @param {ArrayLike<number>} a */
  chosen(a) {
    if (this.outputs.task === "binary") return a[0] >= 0.5 ? 1 : 0;
    let best = 0;
    for (let i = 1; i < a.length; i++) if (a[i] > a[best]) best = i;
    return best;
  }

  /** Return an output of a regression in the unit of the target. @param {number} value */
  unit(value) {
    const learned = value * this.outputs.scale + this.outputs.mean;
    return this.outputs.log ? Math.exp(learned) : learned;
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

  /** @param {number} id */
  className(id) {
    return this.outputs.classes.length ? visible(this.outputs.classes[id]) : this.outputName(id);
  }

  /** @param {number} output */
  outputName(output) {
    return visible(this.outputs.names[output] ?? `output ${output}`);
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

  /** Return the name of an input of the network. @param {number} i */
  inputName(i) {
    if (this.inputs.kind === "picture") {
      const [, columns, channels = 1] = this.inputs.shape;
      const pixel = Math.floor(i / channels);
      const end = this.inputs.shape.length > 2 && channels > 1 ? ` ${channels === 3 ? ["red", "green", "blue"][i % 3] : `channel ${i % channels}`}` : "";
      return `pixel (${Math.floor(pixel / columns)}, ${pixel % columns})${end}`;
    }
    return visible(this.inputs.names[i] ?? `x[${i}]`);
  }

  /** Return an input's value in its original unit; null where it is seen as it is. @param {number} i @param {number} value */
  inputWords(i, value) {
    if (this.inputs.kind === "table") {
      const known = this.inputOf(i);
      return known && known.scaled ? figure(rounded(unscaleInput(known, value)), 6) : null;
    }
    if (this.inputs.means) {
      const [mean, scale] = [this.inputs.means[i], this.inputs.scales[i]];
      return mean === 0 && scale === 1 ? null : figure(rounded(value * scale + mean), 6);
    }
    return null;
  }

  /** @param {number} i @returns {import("./encode.js").Input | undefined} */
  inputOf(i) {
    const all = this.cached("inputs by place", () => {
      /** @type {Map<number, any>} */
      const found = new Map();
      for (const column of this.inputs.columns) for (const input of column.inputs) found.set(input.place, input);
      return found;
    });
    return all.get(i);
  }

  /**
   * Return what one row has in a column, in words.
   * @param {import("./encode.js").Column} column
   * @param {ArrayLike<number>} x
   */
  cellWords(column, x) {
    const cell = decodeCell(column, x);
    if (cell.missing) return "missing";
    if (cell.value === null) return "none seen";
    if (column.kind === "yes/no") return cell.value === 1 ? "yes" : cell.value === 0 ? "no" : figure(Number(cell.value));
    return typeof cell.value === "number" ? figure(cell.value, 6) : visible(cell.value, 24);
  }

  /** Return the name of an input of a layer: of the data, or of a neuron below. @param {number} index @param {number} i */
  sourceName(index, i) {
    for (let below = index - 1; below >= 0; below--) {
      const layer = this.net.layers[below];
      if (layer.kind === "Flatten" || layer.kind === "Dropout") continue;
      return this.unitName(below, i);
    }
    return this.inputName(i);
  }

  /** Return the name of an output of a layer, `conv1[7] @ (3, 4)`. @param {number} index @param {number} i */
  unitName(index, i) {
    const layer = this.net.layers[index];
    const { neuron } = unitsOf(layer);
    const name = this.neuronName(index, neuron(i));
    if (layer.output_shape.length === 1) return name;
    const [row, column] = placeOf(layer, i);
    return `${name} @ (${row}, ${column})`;
  }

  /** @param {number} index @param {number} neuron */
  neuronName(index, neuron) {
    return `${visible(this.net.layers[index].name, 30)}[${neuron}]`;
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

  /**
   * Return how a statistic of a neuron went: steps and values, or null where it is not here.
   * @param {number} index
   * @param {number} neuron
   * @param {string} name
   */
  history(index, neuron, name) {
    if (!this.statistics) return null;
    const { fields, layers, steps, values } = this.statistics;
    const total = values.length / (steps.length * fields.length);
    const layer = layers.find((/** @type {any} */ one) => one.name === this.net.layers[index].name);
    const field = fields.indexOf(name);
    if (!layer || field < 0 || neuron >= layer.neurons) return null;
    const at = layer.first + neuron;
    return { steps, values: steps.map((/** @type {number} */ _, /** @type {number} */ k) => values[(k * fields.length + field) * total + at]) };
  }

  /**
   * @template T
   * @param {string} key
   * @param {() => T} make
   * @param {number} [size] about how many numbers it holds
   * @returns {T}
   */
  cached(key, make, size) {
    return this.memory.get(key, make, size);
  }
}

/**
 * Return row and column of an output of a layer of pictures.
 * @param {import("./forward.js").Layer} layer
 * @param {number} i
 * @returns {[number, number]}
 */
export function placeOf(layer, i) {
  if (layer.output_shape.length === 2) return [Math.floor(i / layer.output_shape[1]), i % layer.output_shape[1]];
  const [first, second, third] = layer.output_shape;
  if (formatOf(layer) === "channels_last") {
    const place = Math.floor(i / third);
    return [Math.floor(place / second), place % second];
  }
  const place = i % (second * third);
  return [Math.floor(place / third), place % third];
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

/** @param {{first: number, last: number}} ends */
function range(ends) {
  return Array.from({ length: ends.last - ends.first + 1 }, (_, i) => ends.first + i);
}
