// The network: neurons that glow with their activation, links coloured by sign, strongest first.

import { dataTable, h, openable, refill } from "./dom.js";
import { drawnLayers, layOut, strongest, unitAt } from "./layout.js";
import { unitsOf } from "./forward.js";
import { LinkFinder } from "./network_links.js";
import { NetworkPainter } from "./network_painter.js";
import { figure, signed, whole } from "./numbers.js";
import { legend } from "./pictures.js";
import { brightestPlace, outputIndex } from "./sums.js";

const MOST_ROWS = 22;

export class NetworkView {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {{palette: any, dark: boolean, still: boolean}} theme
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, theme, signal) {
    this.model = model;
    this.store = store;
    this.theme = theme;
    /** @type {import("./layout.js").Layout} */
    this.layout = { panels: [], width: 0, height: 0, across: true, labels: 0 };
    /** @type {import("./forward.js").LayerTrace[]} */
    this.trace = [];
    /** @type {Float32Array} */
    this.x = new Float32Array(0);
    /** @type {number[]} */
    this.rows = [];
    this.finder = new LinkFinder(model, store.now);
    this.painter = new NetworkPainter(model, theme);
    /** @type {import("./network_links.js").Found} */
    this.found = { links: [], count: 0, limit: 0 };
    this.canvas = /** @type {HTMLCanvasElement} */ (h("canvas", {
      class: "nw-network", tabindex: "0", role: "application",
      "aria-label": "The network. Arrow keys move between neurons and layers, Enter opens a neuron; the table below holds the same numbers.",
    }));
    this.tip = h("div", { class: "nw-tip", hidden: true });
    this.line = h("p", { class: "nw-note" });
    this.legends = h("div", { class: "nw-legends" });
    this.frame = h("div", { class: "nw-canvasframe" }, this.canvas, this.tip);
    this.table = h("div", {});
    const kinds = h("fieldset", { class: "nw-choice" }, h("legend", {}, "Links show"),
      ...[["weights", "weights"], ["signals", "weight × activation here"]].map(([value, words]) => {
        const input = h("input", { type: "radio", name: "nw-links", value, checked: store.now.links === value, signal, on: { change: () => store.set({ links: value }) } });
        return h("label", {}, input, ` ${words}`);
      }));
    this.kinds = kinds;
    root.append(this.frame, h("div", { class: "nw-under" }, kinds, this.legends), this.line, this.table);
    /** @type {{panel: import("./layout.js").Panel, unit: number} | null} */
    this.hovered = null;
    this.reveal = Infinity;
    this.width = 0;
    /** @type {number | undefined} */
    this.names = undefined;
    const options = { signal };
    this.canvas.addEventListener("pointermove", (event) => this.hover(event), options);
    this.canvas.addEventListener("pointerleave", () => { this.hovered = null; this.tip.hidden = true; this.draw(); }, options);
    this.canvas.addEventListener("click", (event) => this.click(event), options);
    this.canvas.addEventListener("keydown", (event) => this.key(event), options);
    this.canvas.addEventListener("focus", () => this.draw(), options);
    this.canvas.addEventListener("blur", () => this.draw(), options);
    const watcher = new ResizeObserver(() => this.resize());
    watcher.observe(this.frame);
    signal.addEventListener("abort", () => watcher.disconnect(), { once: true });
    this.resize();
  }

  resize() {
    const width = Math.floor(this.frame.clientWidth);
    if (!width || width === this.width) return;
    this.width = width;
    this.update();
  }

  /** Take in what changed, and draw. */
  update() {
    if (!this.width) return;
    const { step, example, links } = this.store.now;
    for (const input of this.kinds.querySelectorAll("input")) input.checked = input.value === links;
    this.trace = this.model.trace(step, example);
    this.x = this.model.input(example);
    this.rows = this.model.inputs.kind === "picture" ? [] : this.chosenRows();
    this.names ??= this.painter.answersWidth(/** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d")));
    this.layout = layOut(this.model.net, this.model.inputs, this.width, this.rows, this.names);
    this.findLinks();
    this.draw();
    this.tell();
  }

  /** Which inputs of a table are drawn: all, or those the first layer weighs most here. */
  chosenRows() {
    const n = this.model.inputSize;
    if (n <= MOST_ROWS) return Array.from({ length: n }, (_, i) => i);
    const first = this.model.net.layers.find((layer) => layer.parameters.W);
    const sizes = new Float64Array(n);
    if (first && first.parameters.W.shape.length === 2 && first.parameters.W.shape[1] === n) {
      const { parameters } = this.model.at(this.store.now.step);
      const { offset, shape } = first.parameters.W;
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let o = 0; o < shape[0]; o++) sum += parameters[offset + o * n + i] ** 2;
        sizes[i] = Math.sqrt(sum) * Math.abs(this.x[i]);
      }
    }
    return strongest(sizes, MOST_ROWS).sort((p, q) => p - q);
  }

  selected() {
    const { layer, neuron } = this.store.now;
    const panel = this.layout.panels.find((one) => one.index === layer);
    return panel && layer >= 0 ? { panel, unit: neuron } : null;
  }

  /** Show what goes from layer to layer, one after the other. */
  pulse() {
    if (this.theme.still) return;
    const start = performance.now();
    const frames = this.layout.panels.length;
    const tick = (/** @type {number} */ now) => {
      this.reveal = Math.max(0, (now - start) / 110);
      if (this.reveal > frames + 1) this.reveal = Infinity;
      this.draw();
      if (this.reveal !== Infinity && this.canvas.isConnected) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  findLinks() {
    this.found = this.finder.find(this.store.now, this.layout.panels, this.trace, this.looked);
  }

  /** The neuron under the pointer, else the one that was chosen. */
  get looked() {
    return this.hovered ?? this.selected();
  }

  draw() {
    if (!this.layout.panels.length) return;
    const focused = document.activeElement === this.canvas || /** @type {any} */ (this.canvas.getRootNode()).activeElement === this.canvas;
    this.painter.paint(this.canvas, { layout: this.layout, trace: this.trace, x: this.x, links: this.found.links, looked: this.looked, reveal: this.reveal, now: this.store.now, focused });
  }

  /** @param {PointerEvent | MouseEvent} event */
  pointed(event) {
    const box = this.canvas.getBoundingClientRect();
    return unitAt(this.layout, event.clientX - box.left, event.clientY - box.top);
  }

  /** @param {PointerEvent} event */
  hover(event) {
    const found = this.pointed(event);
    const changed = found?.panel !== this.hovered?.panel || found?.unit !== this.hovered?.unit;
    this.hovered = found;
    if (changed) {
      this.findLinks();
      this.draw();
    }
    this.tip.hidden = !found;
    if (!found) return;
    refill(this.tip, ...this.tipWords(found));
    const box = this.frame.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.tip.style.left = `${Math.max(4, Math.min(x + 14, box.width - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${y + this.tip.offsetHeight + 24 > box.height ? y - this.tip.offsetHeight - 10 : y + 16}px`;
  }

  /** @param {{panel: import("./layout.js").Panel, unit: number}} found */
  tipWords(found) {
    if (found.panel.index < 0) {
      const value = this.x[found.unit];
      return [h("b", {}, this.model.inputName(found.unit)), h("span", {}, ` ${this.model.inputWords(found.unit, value) ?? figure(value)}`),
        this.model.inputWords(found.unit, value) === null ? null : h("small", {}, ` (scaled ${figure(value)})`)];
    }
    const layer = this.model.net.layers[found.panel.index];
    const trace = this.trace[found.panel.index];
    const place = brightestPlace(layer, trace.a, found.unit);
    const at = outputIndex(layer, found.unit, place);
    return [h("b", {}, place ? this.model.unitName(found.panel.index, at) : this.model.neuronName(found.panel.index, found.unit)), h("br"),
      trace.z ? `z = ${signed(trace.z[at])}, ` : "", `a = ${signed(trace.a[at])}`,
      place ? h("small", {}, " at its brightest place") : null];
  }

  /** @param {MouseEvent} event */
  click(event) {
    const found = this.pointed(event);
    if (found && found.panel.index >= 0) this.store.set({ layer: found.panel.index, neuron: found.unit, row: -1, column: -1, view: "neuron" });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const order = drawnLayers(this.model.net).map(({ index }) => index);
    const { layer, neuron } = this.store.now;
    const [along, between] = this.layout.across ? [["ArrowUp", "ArrowDown"], ["ArrowLeft", "ArrowRight"]] : [["ArrowLeft", "ArrowRight"], ["ArrowUp", "ArrowDown"]];
    const at = Math.max(0, order.indexOf(layer));
    let next = null;
    if (between.includes(event.key)) next = { layer: order[Math.max(0, Math.min(order.length - 1, at + (event.key === between[1] ? 1 : -1)))], neuron };
    else if (along.includes(event.key)) next = { layer: order[at], neuron: neuron + (event.key === along[1] ? 1 : -1) };
    else if (event.key === "Enter") {
      this.store.set({ view: "neuron", focus: "panel" });
      event.preventDefault();
      event.stopPropagation();
      return;
    } else return;
    event.preventDefault();
    event.stopPropagation();
    const count = unitsOf(this.model.net.layers[next.layer]).count;
    this.hovered = null;
    this.store.set({ ...next, neuron: Math.max(0, Math.min(count - 1, next.neuron)), row: -1, column: -1 });
  }

  /** Say in words and as a table what is drawn. */
  tell() {
    const drawn = this.found.links.length;
    const hidden = this.model.inputs.kind !== "picture" && this.rows.length < this.model.inputSize;
    const looked = this.selected();
    const what = this.store.now.links === "signals" ? "weight × activation" : "weight";
    const whose = looked ? ` of ${this.model.neuronName(looked.panel.index, looked.unit)} and between the other layers` : "";
    this.line.textContent = `Drawn are the ${whole(drawn)} strongest of ${whole(this.found.count)} links, by ${what}: those${whose}, each layer on its own scale. Dashed is negative.${hidden ? ` Of ${whole(this.model.inputSize)} inputs the ${whole(this.rows.length)} that the first layer weighs most here are drawn.` : ""}`.replace(": those,", ",");
    const limit = Math.max(...this.layout.panels.slice(1).map((panel) => this.painter.scaleOf(panel.index, this.trace[panel.index].a)));
    refill(this.legends, legend(this.found.limit, this.theme, "links"), legend(limit, this.theme, "activation, at most"));
    const open = this.table.querySelector("details")?.open;
    const details = openable("The picture as a table", () => this.asTable());
    refill(this.table, details);
    if (open) details.open = true;
  }

  asTable() {
    const rows = [];
    let left = 0;
    for (const { layer, index } of drawnLayers(this.model.net)) {
      const { a, z } = this.trace[index];
      const { count } = unitsOf(layer);
      const order = count > 60 ? strongest(a.length === count ? a : Float32Array.from({ length: count }, (_, k) => a[outputIndex(layer, k, brightestPlace(layer, a, k))]), 60) : Array.from({ length: count }, (_, k) => k);
      left += count - order.length;
      for (const unit of order) {
        const at = outputIndex(layer, unit, brightestPlace(layer, a, unit));
        rows.push([layer.output_shape.length > 1 ? this.model.unitName(index, at) : this.model.neuronName(index, unit), z ? signed(z[at], 5) : "", signed(a[at], 5)]);
      }
    }
    const words = left ? ` Of wide layers the 60 most active; ${whole(left)} neurons are left out.` : "";
    return dataTable(`Every neuron on this example, at step ${whole(this.store.now.step)}.${words}`, ["neuron", "z", "activation a"], rows);
  }
}
