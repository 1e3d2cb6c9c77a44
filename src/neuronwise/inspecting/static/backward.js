// From one output back to every input: how much each would move it.

import { slope } from "./activations.js";
import { eachWindow, normalFactors, pictureStrides, product, unitsOf } from "./forward.js";

/**
 * Return d z[output] / d (input of each layer), for the output layer's z: one array per layer; for piecewise linear
 * layers that is the local linear map, and gradient × input adds up to z up to what the biases come to.
 * @param {import("./forward.js").Net} net
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {import("./forward.js").LayerTrace[]} trace
 * @param {number} output
 * @param {number} [from] the layer whose z is meant; default the last
 * @param {import("./forward.js").Silenced} [silenced] neurons whose activation is 0, whatever their z
 * @param {Float64Array[]} [deltas] is given d z[output] / d z of each layer (d / d a of one without z)
 * @returns {Float64Array[]}
 */
export function gradients(net, parameters, buffers, trace, output, from = net.layers.length - 1, silenced, deltas) {
  /** @type {Float64Array[]} */
  const found = new Array(from + 1);
  /** @type {Float64Array | null} */
  let above = null;
  for (let index = from; index >= 0; index--) {
    const layer = net.layers[index];
    const size = product(layer.output_shape);
    let delta = new Float64Array(size);
    if (index === from) delta[output] = 1;
    else {
      delta = Float64Array.from(/** @type {Float64Array} */ (above));
      const quiet = silenced && silenced.get(index);
      if (quiet && quiet.size) {
        const { neuron } = unitsOf(layer);
        for (let i = 0; i < size; i++) if (quiet.has(neuron(i))) delta[i] = 0;
      }
      const z = trace[index].z;
      if (z && layer.activation) bend(layer.activation, delta, z, trace[index].a);
    }
    if (deltas) deltas[index] = delta;
    above = found[index] = throughLayer(layer, parameters, buffers, trace[index].x, delta);
  }
  return found;
}

/**
 * Return what the biases of each layer come to in z[output], Σ delta · b, by layer.
 * @param {import("./forward.js").Net} net
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {Float64Array[]} deltas of `gradients`
 */
export function biasTerms(net, parameters, buffers, deltas) {
  return net.layers.map((layer, index) => {
    const delta = deltas[index];
    if (layer.kind !== "Dense" && layer.kind !== "Conv2D" && layer.kind !== "BatchNorm") return 0;
    const { neuron } = unitsOf(layer);
    const shift = layer.kind === "BatchNorm" ? normalFactors(layer, parameters, buffers).shift : null;
    let sum = 0;
    for (let i = 0; i < delta.length; i++) {
      if (delta[i] !== 0) sum += delta[i] * (shift ? shift[neuron(i)] : parameters[layer.parameters.b.offset + neuron(i)]);
    }
    return sum;
  });
}

/**
 * @param {string} name
 * @param {Float64Array} delta
 * @param {Float32Array} z
 * @param {Float32Array} a
 */
function bend(name, delta, z, a) {
  if (name === "softmax") {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * delta[i];
    for (let i = 0; i < a.length; i++) delta[i] = a[i] * (delta[i] - sum);
    return;
  }
  for (let i = 0; i < z.length; i++) delta[i] *= slope(name, z[i]);
}

/**
 * Return dL/dx of a layer from dL/dz (dL/da of one without z).
 * @param {import("./forward.js").Layer} layer
 * @param {Float32Array} parameters
 * @param {Float32Array} buffers
 * @param {Float32Array} x
 * @param {Float64Array} delta
 */
function throughLayer(layer, parameters, buffers, x, delta) {
  if (layer.kind === "Dense") {
    const { W } = layer.parameters;
    const [units, inputs] = W.shape;
    const dx = new Float64Array(inputs);
    for (let o = 0; o < units; o++) {
      if (delta[o] === 0) continue;
      const at = W.offset + o * inputs;
      for (let i = 0; i < inputs; i++) dx[i] += delta[o] * parameters[at + i];
    }
    return dx;
  }
  if (layer.kind === "Conv2D") return throughConvolution(layer, parameters, delta);
  if (layer.kind === "BatchNorm") {
    const { scale } = normalFactors(layer, parameters, buffers);
    const { neuron } = unitsOf(layer);
    return delta.map((value, i) => value * scale[neuron(i)]);
  }
  if (layer.kind === "MaxPool2D" || layer.kind === "AveragePool2D") {
    const dx = new Float64Array(x.length);
    eachWindow(layer, (output, inputs, padded) => {
      if (layer.kind === "AveragePool2D") {
        for (const i of inputs) dx[i] += delta[output] / (inputs.length + padded);
      } else if (inputs.length) {
        let best = inputs[0];
        for (const i of inputs) if (x[i] > x[best]) best = i;
        dx[best] += delta[output];
      }
    });
    return dx;
  }
  return delta;
}

/**
 * @param {import("./forward.js").Layer} layer
 * @param {Float32Array} parameters
 * @param {Float64Array} delta
 */
function throughConvolution(layer, parameters, delta) {
  const { W } = layer.parameters;
  const [filters, channels, kernelRows, kernelColumns] = W.shape;
  const rows = /** @type {import("./forward.js").Axis} */ (layer.rows);
  const columns = /** @type {import("./forward.js").Axis} */ (layer.columns);
  const from = pictureStrides(layer.input_shape, layer.data_format);
  const to = pictureStrides(layer.output_shape, layer.data_format);
  const dx = new Float64Array(product(layer.input_shape));
  for (let r = 0; r < rows.places; r++) {
    for (let c = 0; c < columns.places; c++) {
      for (let f = 0; f < filters; f++) {
        const d = delta[r * to.row + c * to.column + f * to.channel];
        if (d === 0) continue;
        for (let k = 0; k < channels; k++) {
          for (let i = 0; i < kernelRows; i++) {
            const row = r * rows.stride + i - rows.before;
            if (row < 0 || row >= rows.size) continue;
            for (let j = 0; j < kernelColumns; j++) {
              const column = c * columns.stride + j - columns.before;
              if (column < 0 || column >= columns.size) continue;
              const at = W.offset + ((f * channels + k) * kernelRows + i) * kernelColumns + j;
              dx[row * from.row + column * from.column + k * from.channel] += d * parameters[at];
            }
          }
        }
      }
    }
  }
  return dx;
}
