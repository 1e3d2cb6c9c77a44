// What each input and each hidden neuron adds to an output: sums that are checked.

import { biasTerms, gradients } from "./backward.js";
import { forward, product } from "./forward.js";

/** Functions made of straight pieces through zero: a network of them is a sum around each input. */
const STRAIGHT = new Set(["identity", "relu", "leaky_relu"]);
const FIRST_STEPS = 32;
const MOST_STEPS = 512;
/** Multiplications that the steps of one explanation may take. */
const MOST_PATH_WORK = 120e6;

/**
 * @typedef {{inputs: Float64Array, layers: Float64Array[], below: number[], start: number, value: number, gap: number,
 *   steps: number, curved: string[]}} Contributions `inputs` and `start` add up to `value`, the z that is explained, up
 *   to `gap`; so do, for each layer, `layers[index]` and `below[index]`. `steps` is 0 where the sum is exact.
 */

/**
 * Return what inputs and neurons add to z of an output.
 *
 * Where every function on the way is made of straight pieces the network is a sum around x: an input adds gradient ·
 * (x − baseline), and what is there without it is what the biases come to, plus gradient · baseline; both are computed,
 * neither as the rest of the other. Elsewhere it is integrated gradients from the baseline to x (Sundararajan, Taly and
 * Yan 2017, eq. 1), and of neurons conductance (Dhamdhere, Sundararajan and Yan 2018, eq. 3), by the trapezoid rule with
 * steps that are doubled until they miss little.
 * @param {import("./forward.js").Net} net
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {Float32Array} x
 * @param {ArrayLike<number> | null} baseline null: zeros
 * @param {number} output
 * @param {{silenced?: import("./forward.js").Silenced, work?: number}} [how] `work`: multiplications of a forward pass
 * @returns {Contributions}
 */
export function contributions(net, parameters, buffers, x, baseline, output, how = {}) {
  const { silenced, work = 1 } = how;
  const last = net.layers.length - 1;
  const curved = net.layers.slice(0, last).filter((layer) => layer.activation && !STRAIGHT.has(layer.activation)).map((layer) => layer.name);
  const trace = forward(net, parameters, buffers, x, silenced);
  if (!curved.length) {
    /** @type {Float64Array[]} */
    const deltas = [];
    const slopes = gradients(net, parameters, buffers, trace, output, last, silenced, deltas);
    const terms = biasTerms(net, parameters, buffers, deltas);
    const inputs = Float64Array.from(slopes[0], (value, i) => value * (x[i] - (baseline ? baseline[i] : 0)));
    let start = terms.reduce((sum, term) => sum + term, 0);
    if (baseline) for (let i = 0; i < x.length; i++) start += slopes[0][i] * baseline[i];
    const layers = trace.map(({ a }, index) => (index < last ? Float64Array.from(a, (value, i) => value * slopes[index + 1][i]) : new Float64Array(0)));
    const below = net.layers.map((_, index) => terms.slice(index + 1).reduce((sum, term) => sum + term, 0));
    const value = zOf(trace, last, output);
    return { inputs, layers, below, start, value, gap: value - start - sumOf(inputs), steps: 0, curved };
  }
  const origin = baseline ? Float64Array.from(baseline) : new Float64Array(x.length);
  let steps = FIRST_STEPS;
  const most = Math.max(FIRST_STEPS, Math.min(MOST_STEPS, MOST_PATH_WORK / (2 * Math.max(work, 1))));
  for (;;) {
    const found = along(net, parameters, buffers, x, origin, output, steps, silenced);
    const size = found.inputs.reduce((sum, value) => sum + Math.abs(value), 0);
    if (!(Math.abs(found.gap) > 1e-4 * size) || 2 * steps > most) return { ...found, curved };
    steps *= 2;
  }
}

/**
 * The sums over the steps of the line from `origin` to `x`.
 * @param {import("./forward.js").Net} net
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {Float32Array} x
 * @param {Float64Array} origin
 * @param {number} output
 * @param {number} steps
 * @param {import("./forward.js").Silenced} [silenced]
 */
function along(net, parameters, buffers, x, origin, output, steps, silenced) {
  const last = net.layers.length - 1;
  const slope = new Float64Array(x.length);
  const layers = net.layers.map((layer, index) => new Float64Array(index < last ? product(layer.output_shape) : 0));
  /** @type {{a: Float32Array[], slopes: Float64Array[]} | null} */
  let before = null;
  let [start, value] = [0, 0];
  for (let k = 0; k <= steps; k++) {
    const at = k === steps ? x : Float32Array.from(x, (one, i) => origin[i] + (k / steps) * (one - origin[i]));
    const trace = forward(net, parameters, buffers, at, silenced);
    const slopes = gradients(net, parameters, buffers, trace, output, last, silenced);
    if (k === 0) start = zOf(trace, last, output);
    value = zOf(trace, last, output);
    const weight = (k === 0 || k === steps ? 0.5 : 1) / steps;
    for (let i = 0; i < slope.length; i++) slope[i] += weight * slopes[0][i];
    const a = trace.map((one) => one.a);
    if (before) {
      for (let index = 0; index < last; index++) {
        const [was, is, g, h] = [before.a[index], a[index], before.slopes[index + 1], slopes[index + 1]];
        const into = layers[index];
        for (let i = 0; i < into.length; i++) into[i] += 0.5 * (g[i] + h[i]) * (is[i] - was[i]);
      }
    }
    before = { a, slopes };
  }
  const inputs = Float64Array.from(slope, (one, i) => (x[i] === origin[i] ? 0 : one * (x[i] - origin[i])));
  return { inputs, layers, below: net.layers.map(() => start), start, value, gap: value - start - sumOf(inputs), steps };
}

/** @param {import("./forward.js").LayerTrace[]} trace @param {number} last @param {number} output */
function zOf(trace, last, output) {
  const { z, a } = trace[last];
  return (z ?? a)[output];
}

/** @param {ArrayLike<number>} values */
export function sumOf(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum;
}
