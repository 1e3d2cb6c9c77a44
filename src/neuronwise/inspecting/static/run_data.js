// What is here of a run, whatever its model: steps, weights, statistics of neurons and layers. No forward pass.

import { unpack } from "./decode.js";
import { Memory } from "./memory.js";
import { visible, whole } from "./numbers.js";

/** Numbers of traces and the like that are kept. */
export const MOST_KEPT_NUMBERS = 40e6;
/** Numbers of states of the network that are kept. */
const MOST_STATE_NUMBERS = 30e6;
const MOST_EXACT = 100;

/**
 * @typedef {{parameters: Float32Array, buffers: Float32Array}} State
 * @typedef {{name: string, first: number, neurons: number, every: number, spacing: number}} Measured a layer whose
 *   neurons have statistics; of `neurons` every `spacing`-th is here, from `first` on; `every`: of embeddings, of how
 *   many rows one was measured
 * @typedef {{fields: string[], layers: Measured[], steps: number[], values: Float32Array, sums: string[],
 *   summed: Float32Array, of_frames: number}} Statistics
 * @typedef {{steps: number[], values: number[]}} Course
 */

export class RunData {
  /** @param {any} payload what Python's build_payload or build_module_payload made */
  constructor(payload) {
    if (!payload || payload.format !== "neuronwise-inspector") throw new Error("this is no data of the inspector");
    this.payload = payload;
    /** @type {import("./forward.js").Net} */
    this.net = payload.network;
    /** Whether answers can be computed here: there is a forward pass. @type {boolean} */
    this.answers = payload.network.answers !== false;
    /** @type {number} */
    this.delivered = payload.weights.delivered;
    /** @type {Map<number, State>} */
    this.states = new Map();
    this.packed = new Map(payload.weights.states.map((/** @type {any} */ state) => [state.step, state]));
    if (payload.first) this.states.set(this.delivered, payload.first); // asked for before the page began
    this.memory = new Memory(MOST_KEPT_NUMBERS);
    const stats = payload.statistics;
    /** @type {Statistics | null} */
    this.statistics = stats && stats.values ? { ...stats, values: unpack(stats.values), summed: unpack(stats.summed) } : null;
    /** Statistics of neurons that a server was asked for, by `layer neuron`; null: it has none. @type {Map<string, Record<string, Course> | null>} */
    this.exact = new Map();
    /** Steps that can be looked at. @type {number[]} */
    this.steps = this.allSteps();
  }

  /** @returns {number[]} */
  allSteps() {
    const { weights } = this.payload;
    if (weights.every) return range(weights.every);
    const known = new Set([...this.packed.keys(), ...(weights.listed ?? [])]);
    if (!this.answers) for (const step of this.statistics?.steps ?? []) known.add(step);
    if (!known.size) known.add(this.delivered);
    return [...known].sort((p, q) => p - q);
  }

  /** Whether weights can be looked at, at any step. */
  get hasWeights() {
    return this.packed.size > 0 || this.states.size > 0;
  }

  /** Whether what is shown of a step is here, or its weights must be asked for. @param {number} step */
  has(step) {
    return this.packed.has(step) || this.states.has(step) || (!this.answers && !this.payload.weights.listed?.includes(step));
  }

  /**
   * Take in the weights of a step that a server sent.
   * @param {number} step
   * @param {Float32Array} parameters
   * @param {Float32Array} buffers
   */
  take(step, parameters, buffers) {
    this.states.set(step, { parameters, buffers });
    // What was shown of this step was that of another.
    this.memory.forgetAll((key) => key.split(" ").includes(String(step)));
    const most = Math.max(8, Math.floor(MOST_STATE_NUMBERS / (parameters.length + buffers.length + 1)));
    for (const known of this.states.keys()) {
      if (this.states.size <= most) break;
      if (known !== step) this.states.delete(known);
    }
  }

  /**
   * Take in what came of a training that runs; the newest state counts as the delivered one.
   * @param {{states: any[], training: any, statistics?: any}} news
   */
  extend(news) {
    for (const state of news.states) this.packed.set(state.step, state);
    if (news.statistics?.values) this.statistics = { ...news.statistics, values: unpack(news.statistics.values), summed: unpack(news.statistics.summed) };
    this.payload.training = news.training;
    this.exact.clear(); // more was recorded since
    this.steps = this.allSteps();
    this.delivered = this.steps[this.steps.length - 1];
    // A page that follows for hours keeps the first, the last and some between: where they stand closest, one goes.
    while (this.packed.size * this.net.parameter_count > MOST_STATE_NUMBERS && this.packed.size > 24) {
      const kept = [...this.packed.keys()].sort((p, q) => p - q);
      let closest = 1;
      for (let i = 2; i < kept.length - 1; i++) if (kept[i + 1] - kept[i - 1] < kept[closest + 1] - kept[closest - 1]) closest = i;
      this.packed.delete(kept[closest]);
      this.states.delete(kept[closest]);
      this.steps = this.allSteps();
    }
  }

  /**
   * Take in all that was recorded of a neuron.
   * @param {number} index
   * @param {number} neuron
   * @param {Record<string, {steps: number[], values: import("./decode.js").Packed}>} found
   */
  takeNeuron(index, neuron, found) {
    const courses = Object.entries(found).map(([name, { steps, values }]) => [name, { steps, values: Array.from(unpack(values)) }]);
    this.exact.set(`${index} ${neuron}`, Object.fromEntries(courses));
    for (const key of this.exact.keys()) {
      if (this.exact.size <= MOST_EXACT) break;
      this.exact.delete(key);
    }
  }

  /** Return the step nearest to one whose weights are here. @param {number} step */
  nearest(step) {
    let best = NaN;
    for (const known of [...this.packed.keys(), ...this.states.keys()]) {
      if (!(Math.abs(known - step) >= Math.abs(best - step))) best = known;
    }
    return Number.isNaN(best) ? this.delivered : best;
  }

  /**
   * Return all weights after a step as they were recorded; of the nearest step where they are not here.
   * @param {number} step
   * @returns {State}
   */
  recorded(step) {
    const known = this.states.get(step);
    if (known) return known;
    const packed = this.packed.get(step);
    if (!packed) {
      if (!this.hasWeights) throw new Error("no weights are in this page");
      return this.recorded(this.nearest(step));
    }
    const state = {
      parameters: /** @type {Float32Array} */ (unpack(packed.parameters)),
      buffers: /** @type {Float32Array} */ (unpack(packed.buffers)),
    };
    this.states.set(step, state);
    return state;
  }

  /** Return which of the frames is nearest to a step; −1 without statistics. @param {number} step */
  frameOf(step) {
    const steps = this.statistics?.steps ?? [];
    let best = steps.length - 1;
    for (let k = 0; k < steps.length; k++) if (Math.abs(steps[k] - step) < Math.abs(steps[best] - step)) best = k;
    return best;
  }

  /** Return where a layer's statistics are; undefined where it has none. @param {number} index @returns {Measured | undefined} */
  measured(index) {
    const { name } = this.net.layers[index];
    return this.statistics?.layers.find((one) => one.name === name);
  }

  /** How many neurons of all layers are in the statistics. */
  get measuredCount() {
    const { statistics } = this;
    return statistics ? statistics.values.length / (statistics.steps.length * statistics.fields.length) : 0;
  }

  /**
   * Return a statistic of the neurons of a layer at a frame; null where there is none.
   * @param {number} index
   * @param {string} name
   * @param {number} frame
   * @returns {{values: Float32Array, spacing: number} | null}
   */
  atFrame(index, name, frame) {
    const { statistics } = this;
    const layer = this.measured(index);
    if (!statistics || !layer || frame < 0) return null;
    const field = statistics.fields.indexOf(name);
    if (field < 0) return null;
    const start = (frame * statistics.fields.length + field) * this.measuredCount + layer.first;
    return { values: statistics.values.subarray(start, start + Math.ceil(layer.neurons / layer.spacing)), spacing: layer.spacing };
  }

  /**
   * Return how a statistic of a neuron went: steps and values; null where it is not here.
   * @param {number} index
   * @param {number} neuron
   * @param {string} name
   * @returns {Course | null}
   */
  history(index, neuron, name) {
    const exact = this.exact.get(`${index} ${neuron}`);
    if (exact) return exact[name] ?? null;
    const { statistics } = this;
    const layer = this.measured(index);
    const field = statistics?.fields.indexOf(name) ?? -1;
    if (!statistics || !layer || field < 0 || neuron >= layer.neurons || neuron % layer.spacing) return null;
    const at = layer.first + neuron / layer.spacing;
    const count = this.measuredCount;
    return { steps: statistics.steps, values: statistics.steps.map((_, k) => statistics.values[(k * statistics.fields.length + field) * count + at]) };
  }

  /**
   * Return how a sum over all neurons of a layer went, see SUMS of Python's statistics_data; null where it is not here.
   * @param {number} index
   * @param {string} name
   * @returns {Course | null}
   */
  sumOf(index, name) {
    const { statistics } = this;
    const layer = this.measured(index);
    if (!statistics || !layer) return null;
    const at = statistics.layers.indexOf(layer);
    const field = statistics.sums.indexOf(name);
    if (field < 0) return null;
    const [sums, layers] = [statistics.sums.length, statistics.layers.length];
    return { steps: statistics.steps, values: statistics.steps.map((_, k) => statistics.summed[(k * sums + field) * layers + at]) };
  }

  /** What is said where statistics are shown: they are there at some steps only. @param {number} [step] */
  statisticsNote(step) {
    const { statistics } = this;
    if (!statistics) return "";
    const { steps } = statistics;
    const frame = step === undefined ? -1 : steps[this.frameOf(step)];
    const nearest = step === undefined || frame === step ? "" : ` Shown is step ${whole(frame)}, the nearest to ${whole(/** @type {number} */ (step))}.`;
    const some = steps.length < statistics.of_frames ? `, of ${whole(statistics.of_frames)} at which they were recorded` : "";
    return `Statistics are of the batch of a recorded step: ${whole(steps.length)} steps are here${some}, ${whole(steps[0])} to ${whole(steps[steps.length - 1])}.${nearest}`;
  }

  /** @param {number} index @param {number} neuron */
  neuronName(index, neuron) {
    return `${visible(this.net.layers[index].name, 60)}[${neuron * (this.net.layers[index].every ?? 1)}]`;
  }

  /**
   * Return the layer and the neuron that a name means, as the recording and the diagnosis say it: `hidden1[7]`, `hidden1`.
   * @param {string} name
   * @returns {{layer: number, neuron: number | null} | null}
   */
  find(name) {
    const whole_ = this.net.layers.findIndex((layer) => layer.name === name);
    if (whole_ >= 0) return { layer: whole_, neuron: null };
    const found = /^(.+)\[(\d{1,9})\]$/s.exec(name);
    if (!found) return null;
    const layer = this.net.layers.findIndex((one) => one.name === found[1]);
    if (layer < 0) return null;
    const neuron = Math.floor(Number(found[2]) / (this.net.layers[layer].every ?? 1));
    return neuron < this.net.layers[layer].neurons ? { layer, neuron } : null;
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

/** @param {{first: number, last: number}} ends */
function range(ends) {
  return Array.from({ length: ends.last - ends.first + 1 }, (_, i) => ends.first + i);
}
