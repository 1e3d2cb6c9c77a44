// Which neurons of a layer do not work, or do what others do: by the examples in the page, or by what was recorded.

import { h } from "./dom.js";
import { correlation } from "./correlation.js";
import { whole } from "./numbers.js";

const MOST_NEURONS = 4096;
const MOST_FOR_TWINS = 256;
const MOST_NAMED = 30;

/**
 * @typedef {{dead: number[] | null, saturated: number[] | null, odd: number[], twins: [number, number][] | null, on: string}} Lists
 *   null: that cannot be, or is not known, of this layer; `on`: what it is judged by
 */

/**
 * Return what stands out on the examples in the page.
 * @param {import("./model.js").Model} model
 * @param {number} index
 * @param {number} step
 * @returns {Lists | null}
 */
export function listsOnExamples(model, index, step) {
  if (model.answered < 8) return null;
  const layer = model.net.layers[index];
  const { values, count, examples } = model.acrossExamples(step, index);
  if (count > MOST_NEURONS) return null;
  const [low, high] = layer.activation === "sigmoid" ? [0, 1] : layer.activation === "tanh" ? [-1, 1] : [NaN, NaN];
  const dead = [], saturated = [], odd = [];
  const live = [];
  for (let k = 0; k < count; k++) {
    let [zeros, ends, bad] = [0, 0, 0];
    for (let e = 0; e < examples; e++) {
      const value = values[e * count + k];
      if (value === 0) zeros += 1;
      if (Math.abs(value - low) < 0.03 || Math.abs(value - high) < 0.03) ends += 1;
      if (!Number.isFinite(value)) bad += 1;
    }
    if (zeros === examples) dead.push(k);
    if (ends > 0.95 * examples) saturated.push(k);
    if (bad) odd.push(k);
    if (!bad && zeros < examples) live.push(k);
  }
  /** @type {[number, number][] | null} */
  let twins = null;
  if (count <= MOST_FOR_TWINS) {
    twins = [];
    const columns = new Map(live.map((k) => [k, Array.from({ length: examples }, (_, e) => values[e * count + k])]));
    for (const p of live) for (const q of live) if (p < q && correlation(/** @type {number[]} */ (columns.get(p)), /** @type {number[]} */ (columns.get(q))) > 0.98) twins.push([p, q]);
  }
  return { dead: layer.activation === "relu" ? dead : null, saturated: Number.isNaN(low) ? null : saturated, odd, twins, on: `on ${whole(examples)} examples at step ${whole(step)}` };
}

/**
 * Return what stands out in the statistics that were recorded nearest to a step.
 * @param {import("./model.js").Model} model
 * @param {number} index
 * @param {number} step
 * @returns {Lists | null}
 */
export function listsAsRecorded(model, index, step) {
  const frame = model.frameOf(step);
  const of = (/** @type {string} */ name) => model.atFrame(index, name, frame);
  const [inactive, saturated] = [of("inactive"), of("saturated")];
  if (!model.statistics || !inactive || !saturated) return null;
  const pick = (/** @type {{values: Float32Array, spacing: number}} */ found, /** @type {(value: number) => boolean} */ test) => Array.from(found.values).flatMap((value, k) => (test(value) ? [k * found.spacing] : []));
  const known = (/** @type {{values: Float32Array}} */ found) => found.values.some((value) => !Number.isNaN(value));
  const odd = new Set(["nonfinite_weights", "nonfinite_gradients", "nonfinite_activations"].flatMap((name) => { const found = of(name); return found ? pick(found, (value) => value > 0) : []; }));
  const some = inactive.spacing > 1 ? `, of one neuron in ${inactive.spacing}` : "";
  return {
    dead: known(inactive) ? pick(inactive, (value) => value === 1) : null, saturated: known(saturated) ? pick(saturated, (value) => value > 0.95) : null,
    odd: [...odd].sort((p, q) => p - q), twins: null, on: `on the batch of step ${whole(model.statistics.steps[frame])}${some}`,
  };
}

/**
 * Return lists of neurons that jump to them.
 * @param {import("./model.js").Model} model
 * @param {import("./state.js").Store} store
 * @param {number} index
 * @param {AbortSignal} signal
 */
export function neuronLists(model, store, index, signal) {
  const { step } = store.now;
  const lists = (model.answers ? listsOnExamples(model, index, step) : null) ?? listsAsRecorded(model, index, step);
  if (!lists) {
    const many = model.net.layers[index].neurons > MOST_NEURONS;
    return h("section", {}, h("h3", {}, "Neurons to look at"), h("p", { class: "nw-empty" }, many ? `Dead and saturated neurons of more than ${whole(MOST_NEURONS)} are told by what was recorded, and no statistics of this layer are here.` : "They are told by examples or by recorded statistics, and neither is here."));
  }
  const jump = (/** @type {number} */ k) => h("button", { type: "button", class: "nw-link", signal, on: { click: () => store.set({ layer: index, neuron: k, row: -1, column: -1, view: "neuron" }) } }, model.neuronName(index, k));
  const list = (/** @type {string} */ words, /** @type {number[]} */ found, /** @type {string} */ none) => h("div", {}, h("h4", {}, `${words}: ${found.length ? whole(found.length) : "none"}`),
    found.length ? h("p", {}, ...found.slice(0, MOST_NAMED).flatMap((k) => [jump(k), " "]), found.length > MOST_NAMED ? `and ${whole(found.length - MOST_NAMED)} more` : "") : h("p", { class: "nw-note" }, none));
  const total = model.sumOf(index, "silent");
  const measured = model.sumOf(index, "measured");
  const frame = model.frameOf(step);
  const silent = lists.dead && total && measured && measured.values[frame] > 0 ? `Of all its ${whole(measured.values[frame])} neurons ${total.values[frame] === 0 ? "none was" : total.values[frame] === 1 ? "one was" : `${whole(total.values[frame])} were`} silent on the whole batch of step ${whole(total.steps[frame])}.` : "";
  return h("section", {}, h("h3", {}, `Neurons to look at, ${lists.on}`), h("div", { class: "nw-columns" },
    lists.dead ? list("Dead", lists.dead, "No neuron is silent on all of them.") : null,
    lists.saturated ? list("Saturated", lists.saturated, "No neuron sits at an end of its range on nearly all of them.") : null,
    lists.odd.length ? list("Not finite", lists.odd, "") : null,
    lists.twins ? h("div", {}, h("h4", {}, `Twins: ${lists.twins.length ? whole(lists.twins.length) : "none"}`), lists.twins.length ? h("ul", { class: "nw-plain" }, ...lists.twins.slice(0, 12).map(([p, q]) => h("li", {}, jump(p), " and ", jump(q))), lists.twins.length > 12 ? h("li", {}, `and ${whole(lists.twins.length - 12)} more`) : null) : h("p", { class: "nw-note" }, "No two correlate above 0.98."))
      : h("div", {}, h("h4", {}, "Twins"), h("p", { class: "nw-note" }, model.answers && model.answered >= 8 ? `Of more than ${MOST_FOR_TWINS} neurons twins are shown for one at a time, in the view of a neuron.` : "Twins are found on examples, and none are here."))),
  silent ? h("p", { class: "nw-note" }, silent) : null);
}
