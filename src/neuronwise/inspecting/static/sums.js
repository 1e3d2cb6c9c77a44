// A neuron's sum on an input, term by term, and what it comes to when it is added again.

import { normalFactors, pictureStrides, unitsOf } from "./forward.js";

/**
 * @typedef {{input: number, w: number, x: number, product: number, place: number}} Term an input of the layer (its index
 *   in the flat input), the weight, the value, weight × value, and where the weight lies (−1: it is none of its own)
 * @typedef {{terms: Term[], bias: number, z: number, a: number, added: number, gap: number, tolerance: number}} Sum
 */

/**
 * Return which output of a layer a neuron is at a place: of a vector the neuron itself; of a picture (row, column).
 * @param {import("./forward.js").Layer} layer
 * @param {number} neuron
 * @param {[number, number]} [place]
 */
export function outputIndex(layer, neuron, place = [0, 0]) {
  if (layer.output_shape.length === 1) return neuron;
  const s = pictureStrides(layer.output_shape, formatOf(layer));
  return place[0] * s.row + place[1] * s.column + neuron * s.channel;
}

/** @param {import("./forward.js").Layer} layer */
export function formatOf(layer) {
  if (layer.data_format) return layer.data_format;
  return layer.channel_axis === 0 && layer.output_shape.length === 3 ? "channels_first" : "channels_last";
}

/**
 * Return the place at which a neuron of a layer of pictures is most active; undefined of a vector.
 * @param {import("./forward.js").Layer} layer
 * @param {Float32Array} a
 * @param {number} neuron
 * @returns {[number, number] | undefined}
 */
export function brightestPlace(layer, a, neuron) {
  if (layer.output_shape.length === 1) return undefined;
  const s = pictureStrides(layer.output_shape, formatOf(layer));
  /** @type {[number, number]} */
  let best = [0, 0];
  let largest = -Infinity;
  for (let r = 0; r < s.rows; r++) {
    for (let c = 0; c < s.columns; c++) {
      const value = a[r * s.row + c * s.column + neuron * s.channel];
      if (value > largest) [largest, best] = [value, [r, c]];
    }
  }
  return best;
}

/**
 * Return z = Σ w·x + b of a neuron, term by term; null of a layer without weights.
 *
 * The terms are added again in double precision; `gap` is how far that is from the z of the forward pass, and
 * `tolerance` how far it may be, as values are kept in single precision: (n + 2) · 2⁻²⁴ · (Σ |w·x| + |b|), Higham,
 * Accuracy and Stability of Numerical Algorithms (2002), section 4.2.
 * @param {import("./forward.js").Layer} layer
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {import("./forward.js").LayerTrace} trace
 * @param {number} neuron
 * @param {[number, number]} [place] of a layer of pictures
 * @returns {Sum | null}
 */
export function neuronSum(layer, parameters, buffers, trace, neuron, place) {
  const output = outputIndex(layer, neuron, place);
  if (!trace.z) return null;
  /** @type {Term[]} */
  const terms = [];
  let bias = 0;
  const add = (/** @type {number} */ input, /** @type {number} */ w, place = -1) => {
    terms.push({ input, w, x: trace.x[input], product: w * trace.x[input], place });
  };
  if (layer.kind === "Dense") {
    const { W, b } = layer.parameters;
    const n = W.shape[1];
    for (let i = 0, at = W.offset + neuron * n; i < n; i++, at++) add(i, parameters[at], at);
    bias = parameters[b.offset + neuron];
  } else if (layer.kind === "Conv2D") {
    const { W, b } = layer.parameters;
    const [, channels, kernelRows, kernelColumns] = W.shape;
    const rows = /** @type {import("./forward.js").Axis} */ (layer.rows);
    const columns = /** @type {import("./forward.js").Axis} */ (layer.columns);
    const from = pictureStrides(layer.input_shape, layer.data_format);
    const [r, c] = place ?? [0, 0];
    for (let k = 0; k < channels; k++) {
      for (let i = 0; i < kernelRows; i++) {
        for (let j = 0; j < kernelColumns; j++) {
          const row = r * rows.stride + i - rows.before;
          const column = c * columns.stride + j - columns.before;
          if (row < 0 || row >= rows.size || column < 0 || column >= columns.size) continue;
          const at = W.offset + ((neuron * channels + k) * kernelRows + i) * kernelColumns + j;
          add(row * from.row + column * from.column + k * from.channel, parameters[at], at);
        }
      }
    }
    bias = parameters[b.offset + neuron];
  } else if (layer.kind === "BatchNorm") {
    const { scale, shift } = normalFactors(layer, parameters, buffers);
    const k = unitsOf(layer).neuron(output);
    add(output, scale[k]);
    bias = shift[k];
  } else return null;
  let added = bias;
  let size = Math.abs(bias);
  for (const term of terms) {
    added += term.product;
    size += Math.abs(term.product);
  }
  const z = trace.z[output];
  return { terms, bias, z, a: trace.a[output], added, gap: added - z, tolerance: (terms.length + 2) * 2 ** -24 * size };
}

/**
 * Return where an input of a convolution lies in the patch at a place, as its kernels are laid out: channel by channel,
 * row by row.
 * @param {import("./forward.js").Layer} layer
 * @param {number} input
 * @param {[number, number]} place
 */
export function patchIndex(layer, input, place) {
  const [, , kernelRows, kernelColumns] = layer.parameters.W.shape;
  const rows = /** @type {import("./forward.js").Axis} */ (layer.rows);
  const columns = /** @type {import("./forward.js").Axis} */ (layer.columns);
  const from = pictureStrides(layer.input_shape, layer.data_format);
  const channel = from.channels > 1 ? Math.floor(input / from.channel) % from.channels : 0;
  const row = (Math.floor(input / from.row) % from.rows) - place[0] * rows.stride + rows.before;
  const column = (Math.floor(input / from.column) % from.columns) - place[1] * columns.stride + columns.before;
  return (channel * kernelRows + row) * kernelColumns + column;
}

/**
 * Return the terms of the largest size, and what all others come to.
 * @param {Sum} sum
 * @param {number} count
 */
export function topTerms(sum, count) {
  const order = sum.terms.slice().sort((p, q) => size(q.product) - size(p.product));
  const top = order.slice(0, count);
  let rest = 0;
  for (const term of order.slice(count)) rest += term.product;
  return { top, rest, others: order.length - top.length };
}

/** NaN counts as larger than any number, so that it is seen. */
function size(/** @type {number} */ value) {
  return Number.isNaN(value) ? Infinity : Math.abs(value);
}

/**
 * Return a sum as text: a line for each term, all of them, with every digit that single precision has.
 * @param {string} neuron
 * @param {Sum} sum
 * @param {(input: number) => string} nameOf
 */
export function sumAsText(neuron, sum, nameOf) {
  const digits = (/** @type {number} */ value) => (Number.isFinite(value) ? String(Number(value.toPrecision(9))) : String(value));
  const lines = topTerms(sum, sum.terms.length).top.map((term) => [nameOf(term.input), digits(term.x), digits(term.w), digits(term.product)].join("\t"));
  return [`${neuron}: z = sum of w x + b`, "input\tx\tw\tw x", ...lines, `bias\t\t\t${digits(sum.bias)}`, `z\t\t\t${digits(sum.added)}`, ""].join("\n");
}
