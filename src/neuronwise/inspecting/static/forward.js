// The forward pass of every layer type, as the engine in Python has it. Sums are taken in double precision and stored
// in single, so values differ from NumPy's by rounding only (a test compares them).

import { activate } from "./activations.js";

/**
 * @typedef {{size: number, window: number, stride: number, before: number, places: number}} Axis
 * @typedef {{offset: number, shape: number[]}} Place
 * @typedef {{kind: string, name: string, input_shape: number[], output_shape: number[], activation: string | null,
 *   activation_formula: string | null, algebra: string, formula: string, parameter_count: number, neurons: number,
 *   channel_axis: number | null, parameters: Record<string, Place>, buffers: Record<string, Place>, rows?: Axis,
 *   columns?: Axis, data_format?: string, epsilon?: number, every?: number}} Layer
 * @typedef {{input_shape: number[], layers: Layer[], parameter_count: number, buffer_count: number, sizes: string}} Net
 * @typedef {{x: Float32Array, z: Float32Array | null, a: Float32Array}} LayerTrace
 * @typedef {Map<number, Set<number>>} Silenced neurons that are silenced, by the index of their layer
 */

/** @param {number[]} shape */
export function product(shape) {
  return shape.reduce((all, n) => all * n, 1);
}

/**
 * Return z and a of every layer for one input.
 * @param {Net} net
 * @param {Float32Array} parameters all weights and biases, flat
 * @param {Float32Array} buffers
 * @param {Float32Array} x one input, flat
 * @param {Silenced} [silenced] neurons whose activation is taken as 0
 * @param {{from: number, trace: LayerTrace[]}} [known] a trace whose layers before `from` are taken as they are
 * @returns {LayerTrace[]}
 */
export function forward(net, parameters, buffers, x, silenced, known) {
  /** @type {LayerTrace[]} */
  const trace = [];
  let input = x;
  net.layers.forEach((layer, index) => {
    let found;
    if (known && index < known.from) found = known.trace[index];
    else {
      found = runLayer(layer, parameters, buffers, input);
      const quiet = silenced && silenced.get(index);
      if (quiet && quiet.size) found = { ...found, a: silence(layer, found.a, quiet) };
    }
    trace.push(found);
    input = found.a;
  });
  return trace;
}

/**
 * @param {Layer} layer
 * @param {Float32Array} a
 * @param {Set<number>} quiet
 */
function silence(layer, a, quiet) {
  const copy = a.slice();
  const places = unitsOf(layer);
  for (let i = 0; i < copy.length; i++) if (quiet.has(places.neuron(i))) copy[i] = 0;
  return copy;
}

/**
 * Return how the outputs of a layer belong to its neurons: `neuron(i)` is that of output i.
 * @param {{output_shape: number[], channel_axis: number | null}} layer
 */
export function unitsOf(layer) {
  const axis = layer.channel_axis;
  if (axis === null) return { count: 1, neuron: () => 0 };
  const inner = product(layer.output_shape.slice(axis + 1));
  const count = layer.output_shape[axis];
  return { count, neuron: (/** @type {number} */ i) => Math.floor(i / inner) % count };
}

/**
 * Return strides of a picture: how far apart rows, columns and channels lie, and how many channels there are.
 * @param {number[]} shape
 * @param {string} [format]
 */
export function pictureStrides(shape, format = "channels_last") {
  if (shape.length === 2) return { rows: shape[0], columns: shape[1], channels: 1, row: shape[1], column: 1, channel: 0 };
  if (format === "channels_last") {
    const [rows, columns, channels] = shape;
    return { rows, columns, channels, row: columns * channels, column: channels, channel: 1 };
  }
  const [channels, rows, columns] = shape;
  return { rows, columns, channels, row: columns, column: 1, channel: rows * columns };
}

/**
 * @param {Layer} layer
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {Float32Array} x
 * @returns {LayerTrace}
 */
export function runLayer(layer, parameters, buffers, x) {
  switch (layer.kind) {
    case "Dense":
      return activated(layer, x, dense(layer, parameters, x));
    case "Conv2D":
      return activated(layer, x, convolve(layer, parameters, x));
    case "BatchNorm":
      return activated(layer, x, normalise(layer, parameters, buffers, x));
    case "Activation":
      return activated(layer, x, x);
    case "MaxPool2D":
      return { x, z: null, a: pool(layer, x, true) };
    case "AveragePool2D":
      return { x, z: null, a: pool(layer, x, false) };
    case "Flatten":
    case "Dropout":
      return { x, z: null, a: x };
    default:
      throw new Error(`layers of kind ${layer.kind} are not known here`);
  }
}

/**
 * @param {Layer} layer
 * @param {Float32Array} x
 * @param {Float32Array} z
 */
function activated(layer, x, z) {
  return { x, z, a: activate(layer.activation ?? "identity", z) };
}

/**
 * z = W x + b.
 * @param {Layer} layer
 * @param {Float32Array} parameters
 * @param {Float32Array} x
 */
function dense(layer, parameters, x) {
  const { W, b } = layer.parameters;
  const [units, inputs] = W.shape;
  const z = new Float32Array(units);
  for (let o = 0, at = W.offset; o < units; o++, at += inputs) {
    let sum = 0;
    for (let i = 0; i < inputs; i++) sum += parameters[at + i] * x[i];
    z[o] = sum + parameters[b.offset + o];
  }
  return z;
}

/**
 * z = W ⋆ x + b, at every place.
 * @param {Layer} layer
 * @param {Float32Array} parameters
 * @param {Float32Array} x
 */
function convolve(layer, parameters, x) {
  const { W, b } = layer.parameters;
  const [filters, channels, kernelRows, kernelColumns] = W.shape;
  const rows = /** @type {Axis} */ (layer.rows);
  const columns = /** @type {Axis} */ (layer.columns);
  const from = pictureStrides(layer.input_shape, layer.data_format);
  const to = pictureStrides(layer.output_shape, layer.data_format);
  const z = new Float32Array(product(layer.output_shape));
  const sums = new Float64Array(filters);
  const perFilter = channels * kernelRows * kernelColumns;
  for (let r = 0; r < rows.places; r++) {
    for (let c = 0; c < columns.places; c++) {
      for (let f = 0; f < filters; f++) sums[f] = 0;
      for (let i = 0; i < kernelRows; i++) {
        const row = r * rows.stride + i - rows.before;
        if (row < 0 || row >= rows.size) continue;
        for (let j = 0; j < kernelColumns; j++) {
          const column = c * columns.stride + j - columns.before;
          if (column < 0 || column >= columns.size) continue;
          for (let k = 0; k < channels; k++) {
            const value = x[row * from.row + column * from.column + k * from.channel];
            let at = W.offset + (k * kernelRows + i) * kernelColumns + j;
            for (let f = 0; f < filters; f++, at += perFilter) sums[f] += value * parameters[at];
          }
        }
      }
      for (let f = 0; f < filters; f++) {
        z[r * to.row + c * to.column + f * to.channel] = sums[f] + parameters[b.offset + f];
      }
    }
  }
  return z;
}

/**
 * Call `visit` with each place of the output and the inputs in its window; `padded` tells how many lie beyond.
 * @param {Layer} layer
 * @param {(output: number, inputs: number[], padded: number) => void} visit
 */
export function eachWindow(layer, visit) {
  const rows = /** @type {Axis} */ (layer.rows);
  const columns = /** @type {Axis} */ (layer.columns);
  const from = pictureStrides(layer.input_shape, layer.data_format);
  const to = pictureStrides(layer.output_shape, layer.data_format);
  for (let k = 0; k < to.channels; k++) {
    for (let r = 0; r < rows.places; r++) {
      for (let c = 0; c < columns.places; c++) {
        const inputs = [];
        let padded = 0;
        for (let i = 0; i < rows.window; i++) {
          const row = r * rows.stride + i - rows.before;
          for (let j = 0; j < columns.window; j++) {
            const column = c * columns.stride + j - columns.before;
            if (row < 0 || row >= rows.size || column < 0 || column >= columns.size) padded++;
            else inputs.push(row * from.row + column * from.column + k * from.channel);
          }
        }
        visit(r * to.row + c * to.column + k * to.channel, inputs, padded);
      }
    }
  }
}

/**
 * The largest value of each window (NaN counts as larger than any), or the mean, in which padding counts as zeros.
 * @param {Layer} layer
 * @param {Float32Array} x
 * @param {boolean} largest
 */
function pool(layer, x, largest) {
  const a = new Float32Array(product(layer.output_shape));
  eachWindow(layer, (output, inputs, padded) => {
    let found = largest ? -Infinity : 0;
    for (const i of inputs) {
      if (!largest) found += x[i];
      else if (!(found >= x[i]) && !Number.isNaN(found)) found = x[i];
    }
    a[output] = largest ? found : found / (inputs.length + padded);
  });
  return a;
}

/**
 * z = gamma (x − mean) / √(variance + epsilon) + beta, mean and variance being the running averages.
 * @param {Layer} layer
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {Float32Array} x
 */
function normalise(layer, parameters, buffers, x) {
  const factors = normalFactors(layer, parameters, buffers);
  const { neuron } = unitsOf(layer);
  const z = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const k = neuron(i);
    z[i] = x[i] * factors.scale[k] + factors.shift[k];
  }
  return z;
}

/**
 * Return batch normalisation in evaluation as what it is: x times `scale` plus `shift`, for each feature.
 * @param {Layer} layer
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 */
export function normalFactors(layer, parameters, buffers) {
  const { gamma, beta } = layer.parameters;
  const { running_mean: mean, running_var: variance } = layer.buffers;
  const count = gamma.shape[0];
  const scale = new Float64Array(count);
  const shift = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    scale[k] = parameters[gamma.offset + k] / Math.sqrt(buffers[variance.offset + k] + (layer.epsilon ?? 1e-5));
    shift[k] = parameters[beta.offset + k] - buffers[mean.offset + k] * scale[k];
  }
  return { scale, shift };
}
