// One neuron: its sum on the example term by term, its curve, its past, what it likes, and what breaks without it.

import { barCell, barList, curveChart } from "./charts.js";
import { correlation } from "./correlation.js";
import { copyText, dataTable, h, openable, refill } from "./dom.js";
import { activation } from "./activations.js";
import { pictureStrides, unitsOf } from "./forward.js";
import { counted, figure, steadyPercent, signed, steady, steadySigned, visible, whole } from "./numbers.js";
import { pastOf } from "./past_view.js";
import { picture } from "./pictures.js";
import { largestSize } from "./scales.js";
import { brightestPlace, formatOf, neuronSum, outputIndex, patchIndex, sumAsText, topTerms } from "./sums.js";
import { withoutNeuron } from "./without.js";

const TOP = 8;

export class NeuronView {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {{palette: any, dark: boolean, still: boolean}} theme
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, theme, signal) {
    this.root = root;
    this.model = model;
    this.store = store;
    this.theme = theme;
    this.signal = signal;
    this.shown = TOP;
  }

  update() {
    const { layer: index, neuron, step, example } = this.store.now;
    const layer = this.model.net.layers[index];
    if (!layer || index < 0) {
      refill(this.root, h("p", { class: "nw-empty" }, "Choose a neuron in the picture of the network: click it, or move there with the arrow keys."));
      return;
    }
    const state = this.model.at(step);
    const trace = this.model.trace(step, example)[index];
    const place = this.place(layer, trace.a, neuron);
    const at = outputIndex(layer, neuron, place);
    const name = place ? this.model.unitName(index, at) : this.model.neuronName(index, neuron);
    const sum = neuronSum(layer, state.parameters, state.buffers, trace, neuron, place);
    refill(
      this.root,
      h("div", { class: "nw-headline" }, h("h2", { tabindex: "-1" }, name), this.steer(layer, index, neuron)),
      this.sentence(layer, trace, at, index, neuron),
      sum ? this.equation(sum, layer, index) : h("p", {}, `It has no weights of its own: ${layer.algebra}.`),
      sum ? this.pictures(sum, layer, index, neuron, place) : null,
      h("div", { class: "nw-columns nw-sumcolumns" },
        sum ? this.terms(sum, layer, index, neuron) : null,
        this.curve(layer, trace, at, sum)),
      place ? this.placePicker(layer, trace.a, neuron, place) : null,
      h("div", { class: "nw-columns" }, this.likes(index, neuron, layer), this.classes(index, neuron), this.without(index, neuron), this.twins(index, neuron)),
      pastOf(this.model, index, neuron, step, this.root.clientWidth, ["weight_norm", "bias", "grad_norm", "update_norm", "mean", "inactive", "saturated"]),
    );
  }

  /** @param {import("./forward.js").Layer} layer @param {Float32Array} a @param {number} neuron @returns {[number, number] | undefined} */
  place(layer, a, neuron) {
    if (layer.output_shape.length === 1) return undefined;
    const { row, column } = this.store.now;
    const s = pictureStrides(layer.output_shape, formatOf(layer));
    return row >= 0 && row < s.rows && column >= 0 && column < s.columns ? [row, column] : brightestPlace(layer, a, neuron);
  }

  /** @param {import("./forward.js").Layer} layer @param {number} index @param {number} neuron */
  steer(layer, index, neuron) {
    const { count } = unitsOf(layer);
    const go = (/** @type {number} */ by) => () => this.store.set({ neuron: (neuron + by + count) % count, row: -1, column: -1 });
    const { signal } = this;
    const quiet = this.model.isSilenced(index, neuron);
    return h("span", { class: "nw-buttons" },
      h("button", { type: "button", "aria-label": "Previous neuron", on: { click: go(-1) }, signal }, "◂"),
      h("button", { type: "button", "aria-label": "Next neuron", on: { click: go(1) }, signal }, "▸"),
      h("button", { type: "button", "aria-pressed": String(quiet), on: { click: () => { this.model.toggleSilence(index, neuron); this.store.set({ focus: `silence ${this.model.changes}` }); } }, signal }, quiet ? "Let it speak" : "Silence it"));
  }

  /** @param {import("./forward.js").Layer} layer @param {import("./forward.js").LayerTrace} trace @param {number} at @param {number} index @param {number} neuron */
  sentence(layer, trace, at, index, neuron) {
    const a = trace.a[at];
    const quiet = this.model.isSilenced(index, neuron) ? " It is silenced: its activation is taken as 0." : "";
    const words = layer.activation && layer.activation !== "identity" ? `Its activation level is ${figure(a)}: ${layer.activation} of ${trace.z ? signed(trace.z[at]) : "its input"}.` : `Its value is ${figure(a)}.`;
    return h("p", { class: "nw-lead" }, words + quiet);
  }

  /** @param {import("./sums.js").Sum} sum @param {import("./forward.js").Layer} layer @param {number} index */
  equation(sum, layer, index) {
    const products = sum.added - sum.bias;
    const fits = Math.abs(sum.gap) <= sum.tolerance || (!Number.isFinite(sum.z) && !Number.isFinite(sum.added));
    const f = layer.activation ?? "identity";
    return h("div", { class: "nw-equation" },
      h("p", { class: "nw-formula" }, "z = Σ w·x + b = ", h("b", {}, signed(products, 5)), sum.bias < 0 ? " − " : " + ", h("b", {}, figure(Math.abs(sum.bias), 5)), " = ", h("b", {}, signed(sum.z, 5)),
        f === "identity" ? "" : `,  a = ${f}(z) = `, f === "identity" ? "" : h("b", {}, figure(sum.a, 5))),
      h("p", { class: fits ? "nw-check" : "nw-check nw-bad" }, h("span", { "aria-hidden": "true" }, fits ? "✓ " : "✗ "),
        `Added up here, the ${counted(sum.terms.length, "product")} and the bias give ${signed(sum.added, 7)}; the network computed ${signed(sum.z, 7)}. `,
        fits ? (sum.gap === 0 ? "They are the same." : `They differ by ${figure(Math.abs(sum.gap), 2)}, which is rounding (at most ${figure(sum.tolerance, 2)}).`) : `They differ by ${figure(Math.abs(sum.gap), 2)}, more than rounding explains.`,
        layer.kind === "BatchNorm" ? " Here w is gamma / √(variance + ε), and b is beta − mean · w." : ""));
  }

  /** weight × input = product, as three pictures. @param {import("./sums.js").Sum} sum @param {import("./forward.js").Layer} layer @param {number} index @param {number} neuron @param {[number, number]} [place] */
  pictures(sum, layer, index, neuron, place) {
    const grid = this.grid(layer, index);
    if (!grid) return null;
    const { theme } = this;
    const [w, x, product] = [new Float32Array(grid.size).fill(0), new Float32Array(grid.size), new Float32Array(grid.size)];
    for (const term of sum.terms) {
      const k = grid.of(term.input, place);
      if (k < 0) continue;
      w[k] = term.w;
      x[k] = term.x;
      product[k] = term.product;
    }
    const ink = grid.isInput;
    // All three stand in one line, also on a narrow page.
    const side = Math.max(64, Math.min(190, Math.floor((this.root.clientWidth - 84) / 3)));
    return h("div", { class: "nw-three" },
      picture(w, grid, { side, mode: "signed", theme, title: `Weights of the neuron, largest ${figure(largestSize(w))}`, caption: `weights w, to ±${figure(largestSize(w))}` }),
      h("span", { class: "nw-op", "aria-hidden": "true" }, "×"),
      picture(x, grid, { side, mode: ink ? "ink" : "signed", theme, limit: ink ? 1 : undefined, title: "What it is given", caption: grid.words }),
      h("span", { class: "nw-op", "aria-hidden": "true" }, "="),
      picture(product, grid, { side, mode: "signed", theme, title: `Products, largest ${figure(largestSize(product))}`, caption: `products w·x, to ±${figure(largestSize(product))}` }),
      h("p", { class: "nw-sumline" }, "all added: ", h("b", {}, signed(sum.added - sum.bias)), `, with the bias ${signed(sum.bias)}: `, h("b", {}, `z = ${signed(sum.added)}`)));
  }

  /** How the inputs of a layer lie as a picture; null where they are none. @param {import("./forward.js").Layer} layer @param {number} index */
  grid(layer, index) {
    if (layer.kind === "Conv2D") {
      const [, channels, rows, columns] = layer.parameters.W.shape;
      // Several channels stand one below the other.
      return {
        rows: rows * channels, columns, size: rows * columns * channels, isInput: index === 0 && channels === 1,
        words: channels > 1 ? `its patch, ${channels} channels one below the other` : "the patch it looks at",
        of: (/** @type {number} */ input, /** @type {[number, number] | undefined} */ place) => patchIndex(layer, input, place ?? [0, 0]),
      };
    }
    const first = this.model.net.layers.slice(0, index).every((one) => ["Flatten", "Dropout"].includes(one.kind));
    if (layer.kind !== "Dense" || !first || this.model.inputs.kind !== "picture") return null;
    const [rows, columns, channels = 1] = this.model.inputs.shape;
    if (channels > 4) return null;
    // The channels of a colour picture stand one below the other.
    return {
      rows: rows * channels, columns, size: rows * columns * channels, isInput: true, words: channels > 1 ? "the picture x: red, green, blue" : "the picture x",
      of: (/** @type {number} */ input) => (input % channels) * rows * columns + Math.floor(input / channels),
    };
  }

  /** @param {import("./sums.js").Sum} sum @param {import("./forward.js").Layer} layer @param {number} index @param {number} neuron */
  terms(sum, layer, index, neuron) {
    const { top, rest, others } = topTerms(sum, this.shown);
    const limit = Math.max(...top.map((term) => Math.abs(term.product)), Math.abs(sum.bias), Math.abs(rest)) || 1;
    const sources = index === 0 || this.model.net.layers.slice(0, index).every((one) => ["Flatten", "Dropout"].includes(one.kind));
    const rows = top.map((term) => {
      const original = sources ? this.model.inputWords(term.input, term.x) : null;
      const source = this.model.sourceName(index, term.input);
      return [source, original === null ? steady(term.x) : h("span", { class: "nw-x" }, `${original} `, h("small", {}, "(", h("span", { class: "nw-wide" }, "scaled "), `${steady(term.x)})`)), this.editable(term.w, term.place, `the weight of ${source}`), barCell(term.product, limit)];
    });
    if (others) rows.push([`the rest, ${counted(others, "term")}`, "", "", barCell(rest, limit)]);
    const biasPlace = layer.parameters.b ? layer.parameters.b.offset + neuron : -1;
    rows.push(["bias b", "", this.editable(sum.bias, biasPlace, "the bias"), barCell(sum.bias, limit)]);
    rows.push(["sum z", "", "", h("b", {}, signed(sum.added, 5))]);
    const table = dataTable("The sum, largest terms first", ["input", "x", "w", "w·x"], rows);
    if (sources && top.some((term) => this.model.inputWords(term.input, term.x) !== null)) table.querySelectorAll("thead th")[1].append(h("small", { class: "nw-narrow" }, " (scaled)"));
    table.querySelector("table").classList.add("nw-terms");
    if (this.shown === TOP) table.classList.add("nw-tall"); // the sum in its last row must be seen
    const more = others > 0 || this.shown > TOP
      ? h("button", { type: "button", class: "nw-small", "data-key": "more terms", signal: this.signal, on: { click: () => { this.shown = this.shown > TOP ? TOP : 60; this.store.set({ focus: `terms ${this.shown}` }); } } }, this.shown > TOP ? "Show fewer terms" : `Show ${Math.min(60, others + TOP)} terms`)
      : null;
    const copy = h("button", { type: "button", class: "nw-small", signal: this.signal, on: { click: (/** @type {any} */ event) => {
      const text = sumAsText(this.model.neuronName(index, neuron), sum, (input) => this.model.sourceName(index, input));
      event.target.textContent = copyText(text, event.target.parentElement) ? "Copied" : "It could not be copied";
    } } }, "Copy all terms");
    return h("section", {}, h("h3", {}, "Its sum, term by term"), table,
      biasPlace >= 0 ? h("p", { class: "nw-note" }, "Click a weight or the bias to change it, and see what moves.") : null, h("div", { class: "nw-line" }, more, copy));
  }

  /** A weight that can be changed where it stands. @param {number} value @param {number} place in the flat parameters @param {string} words */
  editable(value, place, words) {
    if (place < 0) return steadySigned(value);
    const { signal, model } = this;
    const isChanged = model.edits.has(place);
    const button = h("button", { type: "button", class: isChanged ? "nw-edit nw-changed" : "nw-edit", "data-key": `edit ${place}`, "aria-label": `Change ${words}, now ${signed(value)}`, title: isChanged ? "changed by hand" : "Change it", signal, on: { click: () => open() } }, steadySigned(value));
    const open = () => {
      const field = h("input", { type: "number", step: "any", class: "nw-editing", "aria-label": `New value for ${words}`, value: String(Number(value.toPrecision(4))), signal });
      let isDone = false;
      const end = (/** @type {boolean} */ taken) => {
        if (isDone) return;
        isDone = true;
        const given = Number(field.value);
        const isNew = taken && field.value !== "" && Number.isFinite(given) && field.value !== String(Number(value.toPrecision(4)));
        field.replaceWith(button);
        if (document.activeElement === document.body) button.focus({ preventScroll: true });
        if (!isNew) return;
        model.edit(place, given);
        this.store.set({ focus: `edit ${model.changes}` });
      };
      field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" && event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation();
        end(event.key === "Enter");
      }, { signal });
      field.addEventListener("blur", () => end(true), { signal });
      button.replaceWith(field);
      field.select();
    };
    return button;
  }

  /** @param {import("./forward.js").Layer} layer @param {import("./forward.js").LayerTrace} trace @param {number} at @param {import("./sums.js").Sum | null} sum */
  curve(layer, trace, at, sum) {
    if (!trace.z || !layer.activation) return null;
    const z = trace.z[at];
    if (layer.activation === "softmax") {
      const rows = Array.from(trace.a, (value, i) => ({ name: this.model.outputName(i), value, words: steadyPercent(value), strong: i === at })).sort((p, q) => q.value - p.value).slice(0, 12);
      return h("section", { class: "nw-curve" }, h("h3", {}, "Softmax: all outputs share 100 %"), h("p", { class: "nw-note" }, layer.activation_formula ?? ""), barList(rows, 1));
    }
    const f = layer.activation;
    const threshold = sum && ["relu", "leaky_relu", "elu", "gelu"].includes(f)
      ? `The bias is its threshold: it fires where Σ w·x is above ${signed(-sum.bias)}; here it is ${signed(sum.added - sum.bias)}.`
      : sum && ["sigmoid", "tanh"].includes(f) ? `The bias moves the curve: its middle is where Σ w·x is ${signed(-sum.bias)}; here it is ${signed(sum.added - sum.bias)}.` : "";
    return h("section", { class: "nw-curve" }, h("h3", {}, `From z to the activation: ${f}`),
      curveChart((value) => activation(f, value), z, { title: `${f} at z = ${figure(z)} is ${figure(trace.a[at])}`, width: Math.min(380, Math.max(280, this.root.clientWidth - 8)), height: 170, threshold: threshold ? `Σ w·x = ${signed(-(/** @type {import("./sums.js").Sum} */ (sum)).bias)}` : "" }),
      h("p", { class: "nw-note" }, `${layer.activation_formula ?? ""}. z = ${signed(z)} gives a = ${figure(trace.a[at])}. ${threshold}`));
  }

  /** @param {import("./forward.js").Layer} layer @param {Float32Array} a @param {number} neuron @param {[number, number]} place */
  placePicker(layer, a, neuron, place) {
    const s = pictureStrides(layer.output_shape, formatOf(layer));
    const values = new Float32Array(s.rows * s.columns);
    for (let r = 0; r < s.rows; r++) for (let c = 0; c < s.columns; c++) values[r * s.columns + c] = a[r * s.row + c * s.column + neuron * s.channel];
    const shown = picture(values, { rows: s.rows, columns: s.columns }, { side: 160, mode: "signed", theme: this.theme, title: `Its feature map, ${s.rows} × ${s.columns} places`, caption: layer.parameters.W ? `its feature map; the sum above is that at (${place[0]}, ${place[1]}). Click another place.` : `its feature map; looked at is (${place[0]}, ${place[1]}). Click another place.` });
    const canvas = shown.querySelector("canvas");
    canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      this.store.set({ row: Math.floor(((event.clientY - box.top) / box.height) * s.rows), column: Math.floor(((event.clientX - box.left) / box.width) * s.columns) });
    }, { signal: this.signal });
    const number = (/** @type {string} */ words, /** @type {"row" | "column"} */ key, /** @type {number} */ value, /** @type {number} */ most) => h("label", {}, `${words} `, h("input", {
      type: "number", min: 0, max: most - 1, value: String(value), signal: this.signal,
      on: { change: (/** @type {any} */ event) => this.store.set({ row: place[0], column: place[1], [key]: Math.max(0, Math.min(most - 1, Math.floor(Number(event.target.value) || 0))) }) },
    }));
    return h("section", {}, h("h3", {}, "Where it is active"), shown, h("div", { class: "nw-form" }, number("row", "row", place[0], s.rows), number("column", "column", place[1], s.columns)));
  }

  /** @param {number} index @param {number} neuron @param {import("./forward.js").Layer} layer */
  likes(index, neuron, layer) {
    if (!this.model.answered) return h("section", {}, h("h3", {}, "What it likes"), h("p", { class: "nw-empty" }, this.model.payload.redacted ? "The page was made without rows of the data." : "There are no examples in this page."));
    const { values, count, examples } = this.model.acrossExamples(this.store.now.step, index);
    const all = Array.from({ length: examples }, (_, e) => ({ e, value: values[e * count + neuron] })).filter(({ value }) => Number.isFinite(value));
    all.sort((p, q) => q.value - p.value);
    const active = all.filter(({ value }) => value > 0).length;
    const go = (/** @type {number} */ e) => () => this.store.set({ example: e });
    const list = h("div", { class: "nw-likes" }, ...all.slice(0, 6).map(({ e, value }) => h("button", {
      type: "button", class: "nw-like", "aria-label": `Example ${this.model.examples.rows[e]}, activation ${figure(value)}`, signal: this.signal, on: { click: go(e) },
    }, this.thumbnail(e), h("small", {}, steady(value), h("br"), this.model.right(e) ?? ""))));
    return h("section", {}, h("h3", {}, "What it likes most"), list,
      h("p", { class: "nw-note" }, `Of ${counted(examples, "example")}${examples < this.model.examples.count ? ` (of ${whole(this.model.examples.count)} here)` : ""} its activation is above 0 on ${whole(active)}${layer.output_shape.length > 1 ? " (the mean over its places)" : ""}.`));
  }

  /** @param {number} e */
  thumbnail(e) {
    if (this.model.inputs.kind === "picture") {
      const [rows, columns, channels = 1] = this.model.inputs.shape;
      return picture(this.model.input(e), { rows, columns, channels }, { side: 52, mode: "ink", theme: this.theme, limit: 1, title: `Example ${this.model.examples.rows[e]}`, caption: "" });
    }
    return h("span", { class: "nw-rowname" }, `row ${whole(this.model.examples.rows[e])}`);
  }

  /** @param {number} index @param {number} neuron */
  classes(index, neuron) {
    const { task, classes } = this.model.outputs;
    if (!this.model.answered || !task) return null;
    const { values, count, examples } = this.model.acrossExamples(this.store.now.step, index);
    if (task === "regression") {
      const pairs = Array.from({ length: examples }, (_, e) => [values[e * count + neuron], this.model.examples.y[e * this.model.outputsPerRow]]);
      const r = correlation(pairs.map((p) => p[0]), pairs.map((p) => p[1]));
      return h("section", {}, h("h3", {}, `Its mean activation by ${visible(this.model.outputs.target, 30)}`), barList(this.quarters(pairs)),
        h("p", { class: "nw-note" }, Number.isNaN(r) ? "Its activation is the same on every example." : `Correlation of its activation with the right answer over ${whole(examples)} examples: ${signed(r, 2)}.`));
    }
    const sums = classes.map(() => [0, 0]);
    for (let e = 0; e < examples; e++) {
      const id = this.model.examples.y[e * this.model.outputsPerRow];
      if (!sums[id]) continue;
      sums[id][0] += values[e * count + neuron];
      sums[id][1] += 1;
    }
    const rows = sums.map((/** @type {number[]} */ [sum, n], /** @type {number} */ id) => ({ name: visible(classes[id], 24), value: n ? sum / n : NaN })).filter((/** @type {{value: number}} */ row) => Number.isFinite(row.value));
    const shown = rows.length > 14 ? rows.slice().sort((/** @type {{value: number}} */ p, /** @type {{value: number}} */ q) => Math.abs(q.value) - Math.abs(p.value)).slice(0, 14) : rows;
    return h("section", {}, h("h3", {}, "Its mean activation on each class"), barList(shown));
  }

  /** Its mean activation on each quarter of the examples, by what is right. @param {number[][]} pairs activation and target of each */
  quarters(pairs) {
    const sorted = pairs.slice().sort((p, q) => p[1] - q[1]);
    const cuts = [0, 1, 2, 3, 4].map((k) => Math.round((k * sorted.length) / 4));
    const words = (/** @type {number} */ at) => figure(this.model.unit(sorted[at][1]), 3);
    return [0, 1, 2, 3].filter((k) => cuts[k + 1] > cuts[k]).map((k) => {
      const part = sorted.slice(cuts[k], cuts[k + 1]);
      return { name: `${words(cuts[k])} to ${words(cuts[k + 1] - 1)}`, value: part.reduce((sum, [a]) => sum + a, 0) / part.length };
    });
  }

  /** What breaks without it. @param {number} index @param {number} neuron */
  without(index, neuron) {
    const { model } = this;
    const { step } = this.store.now;
    if (index === model.net.layers.length - 1 || !model.answered || !model.outputs.task) return null;
    const found = model.cached(`trace without ${model.changes} ${step} ${index} ${neuron}`, () => withoutNeuron(model, step, index, neuron));
    const count = counted(model.answered, "example");
    const open = (/** @type {number} */ e, /** @type {string} */ words) => h("button", { type: "button", class: "nw-like", "aria-label": `Example ${model.examples.rows[e]}: ${words}`, signal: this.signal, on: { click: () => this.store.set({ example: e }) } }, this.thumbnail(e), h("small", {}, words));
    if (model.outputs.task === "regression") {
      const shown = found.moved.slice(0, 5);
      return h("section", {}, h("h3", {}, "Without it"),
        h("p", {}, `Silenced, the mean absolute error on ${count} goes from ${figure(found.before, 4)} to ${figure(found.after, 4)}.`),
        shown.length ? h("p", { class: "nw-note" }, "What moves most:") : null, h("div", { class: "nw-likes" }, ...shown.map(({ e, was, is }) => open(e, `${figure(was, 4)} → ${figure(is, 4)}`))));
    }
    const worst = found.classes.filter(({ before, after }) => before !== after).sort((p, q) => q.before - q.after - (p.before - p.after)).slice(0, 4);
    return h("section", {}, h("h3", {}, "Without it"),
      h("p", {}, `Silenced, ${whole(found.after)} of ${count} are answered rightly, instead of ${whole(found.before)}.`),
      worst.length ? h("ul", { class: "nw-plain" }, ...worst.map(({ id, before, after, of }) => h("li", {}, `${model.className(id)}: ${whole(after)} of ${whole(of)} right, instead of ${whole(before)}`))) : null,
      found.moved.length ? h("p", { class: "nw-note" }, `${counted(found.moved.length, "answer")} change${found.moved.length === 1 ? "s" : ""}:`) : null,
      h("div", { class: "nw-likes" }, ...found.moved.slice(0, 6).map(({ e, was, is }) => open(e, `${model.className(was)} → ${model.className(is)}`))));
  }

  /** @param {number} index @param {number} neuron */
  twins(index, neuron) {
    if (this.model.answered < 8) return null;
    const { values, count, examples } = this.model.acrossExamples(this.store.now.step, index);
    if (count < 2 || count > 4096) return null;
    const column = (/** @type {number} */ k) => Array.from({ length: examples }, (_, e) => values[e * count + k]);
    const own = column(neuron);
    const found = [];
    for (let k = 0; k < count; k++) if (k !== neuron) found.push({ k, r: correlation(own, column(k)) });
    const like = found.filter(({ r }) => Number.isFinite(r)).sort((p, q) => Math.abs(q.r) - Math.abs(p.r)).slice(0, 3);
    if (!like.length) return h("section", {}, h("h3", {}, "Neurons like it"), h("p", {}, "It does not vary over the examples, so it is like none and all."));
    return h("section", {}, h("h3", {}, "Neurons most like it"), h("ul", { class: "nw-plain" }, ...like.map(({ k, r }) => h("li", {},
      h("button", { type: "button", class: "nw-link", signal: this.signal, on: { click: () => this.store.set({ neuron: k, row: -1, column: -1 }) } }, this.model.neuronName(index, k)), ` correlation ${signed(r, 2, "steady")}${r > 0.98 ? ", a twin" : ""}`))));
  }
}
