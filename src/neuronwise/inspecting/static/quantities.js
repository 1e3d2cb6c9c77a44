// What is measured of neurons, in words: docs/reference/quantities.md says each exactly.

/** @typedef {{name: string, words: string, means: string, signed: boolean}} Quantity */

/** What can be shown of each neuron of a model whose answers cannot be computed here. @type {Quantity[]} */
export const QUANTITIES = [
  { name: "mean", words: "mean activation", means: "The mean of what it returned, over the batch of the step (and over all places).", signed: true },
  { name: "std", words: "spread of the activation", means: "How far its activation varied over the batch: its standard deviation.", signed: false },
  { name: "max", words: "largest activation", means: "The greatest activation on the batch.", signed: true },
  { name: "min", words: "least activation", means: "The least activation on the batch.", signed: true },
  { name: "inactive", words: "share of inputs on which it is silent", means: "Of a ReLU: on how many of the batch its activation was exactly 0. At 1 it answers to nothing.", signed: false },
  { name: "saturated", words: "share at the ends of its range", means: "Of sigmoid and tanh: on how many of the batch it sat within 0.03 of an end.", signed: false },
  { name: "grad_norm", words: "gradient ‖dL/dw‖", means: "How strongly the loss asks its weights to change.", signed: false },
  { name: "weight_norm", words: "length of its weights ‖w‖", means: "The length of its row of weights.", signed: false },
  { name: "update_norm", words: "update ‖Δw‖", means: "How far the step moved its weights.", signed: false },
  { name: "bias", words: "bias b", means: "Its bias.", signed: true },
  { name: "nonfinite_weights", words: "weights that are NaN or infinite", means: "How many of its weights and its bias are not finite.", signed: false },
  { name: "nonfinite_gradients", words: "gradients that are NaN or infinite", means: "How many of its gradients are not finite.", signed: false },
  { name: "nonfinite_activations", words: "activations that are NaN or infinite", means: "How many of its activations on the batch are not finite.", signed: false },
];

/** @param {string} name @returns {Quantity} */
export function quantity(name) {
  return QUANTITIES.find((one) => one.name === name) ?? QUANTITIES[0];
}
