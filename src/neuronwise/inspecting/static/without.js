// What breaks without a neuron: how every example is answered with its activation taken as 0.

import { forward } from "./forward.js";

/**
 * Return how the examples are answered with and without a neuron.
 * @param {import("./model.js").Model} model
 * @param {number} step
 * @param {number} index of the layer
 * @param {number} neuron
 * @returns {{before: number, after: number, classes: {id: number, of: number, before: number, after: number}[],
 *   moved: {e: number, was: number, is: number}[]}} `before` and `after`: how many are right, or the mean absolute
 *   error; `moved`: whose class changes, or which amounts move most first
 */
export function withoutNeuron(model, step, index, neuron) {
  const { parameters, buffers } = model.at(step);
  const isAmount = model.outputs.task === "regression";
  const silenced = new Map(model.silenced);
  silenced.set(index, new Set([...(silenced.get(index) ?? []), neuron]));
  /** @type {Map<number, {id: number, of: number, before: number, after: number}>} */
  const classes = new Map();
  const moved = [];
  let [before, after] = [0, 0];
  for (let e = 0; e < model.answered; e++) {
    const known = model.trace(step, e);
    const other = forward(model.net, parameters, buffers, model.input(e), silenced, { from: index, trace: known });
    const y = model.examples.y[e * model.outputsPerRow];
    const [with_, without] = [known, other].map((trace) => trace[trace.length - 1].a);
    if (isAmount) {
      const [was, is, should] = [model.unit(with_[0]), model.unit(without[0]), model.unit(y)];
      before += Math.abs(was - should) / model.answered;
      after += Math.abs(is - should) / model.answered;
      if (!Object.is(was, is)) moved.push({ e, was, is });
      continue;
    }
    const [was, is] = [model.chosen(with_), model.chosen(without)];
    const entry = classes.get(y) ?? { id: y, of: 0, before: 0, after: 0 };
    entry.of += 1;
    if (was === y) entry.before += 1;
    if (is === y) entry.after += 1;
    classes.set(y, entry);
    before += was === y ? 1 : 0;
    after += is === y ? 1 : 0;
    if (was !== is) moved.push({ e, was, is });
  }
  if (isAmount) moved.sort((p, q) => Math.abs(q.is - q.was) - Math.abs(p.is - p.was));
  return { before, after, classes: [...classes.values()].sort((p, q) => p.id - q.id), moved };
}
