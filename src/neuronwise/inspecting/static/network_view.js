// The network: neurons that glow with their activation, links coloured by sign, strongest first.

import { dataTable, h, openable, refill } from "./dom.js";
import { drawnLayers, layOut, positionOf, strongest, unitAt } from "./layout.js";
import { pictureStrides, product, unitsOf } from "./forward.js";
import { counted, figure, percent, signed, visible, whole } from "./numbers.js";
import { legend, paint, sharpen } from "./pictures.js";
import { css, glyph, largestSize, mix, signedColour } from "./scales.js";
import { brightestPlace, formatOf, outputIndex } from "./sums.js";

const MOST_LINKS = 220;
const MOST_OF_ONE = 160;
const MOST_ROWS = 22;

/**
 * @typedef {import("./layout.js").Panel} Panel
 * @typedef {{from: Panel, to: Panel, source: number, unit: number, value: number, index: number, limit: number}} Link
 */

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
    this.layout = { panels: [], width: 0, height: 0, across: true };
    /** @type {import("./forward.js").LayerTrace[]} */
    this.trace = [];
    /** @type {Float32Array} */
    this.x = new Float32Array(0);
    /** @type {number[]} */
    this.rows = [];
    /** @type {Link[]} */
    this.links = [];
    this.linkCount = this.linkLimit = 0;
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
    this.layout = layOut(this.model.net, this.model.inputs, this.width, this.rows);
    this.links = this.findLinks();
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

  /** The strongest links of each layer, or those of the neuron that is looked at. */
  findLinks() {
    const { step, links: kind } = this.store.now;
    const { parameters } = this.model.at(step);
    /** @type {Link[]} */
    const found = [];
    this.linkCount = 0;
    this.linkLimit = 0;
    const panels = this.layout.panels;
    for (let p = 1; p < panels.length; p++) {
      const to = panels[p];
      const from = panels[p - 1];
      const layer = this.model.net.layers[to.index];
      if (!layer.parameters.W) continue;
      const x = this.trace[to.index].x;
      const { offset, shape } = layer.parameters.W;
      const isDense = layer.kind === "Dense";
      const [units, sources] = isDense ? shape : [shape[0], shape[1]];
      const values = this.linkValues(layer, kind, x, parameters);
      this.linkCount += isDense ? values.length : product(shape);
      const only = this.focusOf(to, from);
      let picked;
      if (only && only.panel === to) picked = strongest(values.subarray(only.unit * sources, (only.unit + 1) * sources), MOST_OF_ONE).map((i) => i + only.unit * sources);
      else if (only) {
        const column = Float32Array.from({ length: units }, (_, o) => Math.max(...this.sourcesOf(from, only.unit, sources).map((i) => Math.abs(values[o * sources + i]))));
        picked = strongest(column, MOST_OF_ONE).flatMap((o) => this.sourcesOf(from, only.unit, sources).map((i) => o * sources + i)).slice(0, MOST_OF_ONE);
      } else {
        const most = Math.ceil(MOST_LINKS / Math.max(1, panels.length - 2)) + 40;
        picked = this.remembered(`${kind} ${to.index}`, () => strongest(values, most));
      }
      const limit = this.remembered(`${kind} ${to.index} limit`, () => largestSize(values));
      this.linkLimit = Math.max(this.linkLimit, limit);
      for (const at of picked) {
        found.push({ from, to, unit: Math.floor(at / sources), source: at % sources, value: values[at], index: p, limit });
      }
    }
    return found;
  }

  /**
   * What is found of the weights of a layer, so long as they, and the example, are the same.
   * @template T
   * @param {string} key
   * @param {() => T} make
   * @returns {T}
   */
  remembered(key, make) {
    const { step, example } = this.store.now;
    return this.model.cached(`trace links ${this.model.changes} ${this.model.madeCount} ${step} ${key.startsWith("signals") ? example : ""} ${key}`, make);
  }

  /**
   * What each link of a layer carries, (neurons × sources).
   * @param {import("./forward.js").Layer} layer
   * @param {string} kind
   * @param {Float32Array} x
   * @param {Float32Array} parameters
   */
  linkValues(layer, kind, x, parameters) {
    const { offset, shape } = layer.parameters.W;
    const [units, sources] = shape;
    if (layer.kind === "Dense") {
      const weights = parameters.subarray(offset, offset + units * sources);
      if (kind !== "signals") return weights;
      const values = new Float32Array(units * sources);
      for (let o = 0, at = 0; o < units; o++) for (let i = 0; i < sources; i++, at++) values[at] = weights[at] * x[i];
      return values;
    }
    // Of a filter and a channel: the size of the kernel between them, with the sign of its sum.
    const values = new Float32Array(units * sources);
    const kernel = shape[2] * shape[3];
    for (let at = 0; at < values.length; at++) {
      let [sum, square] = [0, 0];
      for (let k = 0; k < kernel; k++) {
        const w = parameters[offset + at * kernel + k];
        sum += w;
        square += w * w;
      }
      values[at] = Math.sign(sum) * Math.sqrt(square);
    }
    return values;
  }

  /** Inputs of a layer that come from one neuron of the panel before it: of a feature map its places. */
  sourcesOf(/** @type {import("./layout.js").Panel} */ from, /** @type {number} */ unit, /** @type {number} */ count) {
    if (from.form !== "maps" || count === from.count) return [unit];
    const { neuron } = unitsOf(this.model.net.layers[from.index]);
    const found = [];
    for (let i = 0; i < count; i++) if (neuron(i) === unit) found.push(i);
    return found;
  }

  /** The neuron whose links alone are shown, if it stands in one of two panels. */
  focusOf(/** @type {import("./layout.js").Panel} */ to, /** @type {import("./layout.js").Panel} */ from) {
    const looked = this.hovered ?? this.selected();
    return looked && (looked.panel === to || (looked.panel === from && from.form !== "picture")) ? looked : null;
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

  draw() {
    if (!this.layout.panels.length) return;
    const { width, height } = this.layout;
    const context = sharpen(this.canvas, width, height);
    context.clearRect(0, 0, width, height);
    this.drawLinks(context);
    this.layout.panels.forEach((panel, p) => {
      const strength = Math.max(0, Math.min(1, this.reveal - p));
      if (panel.index < 0) this.drawInput(context, panel);
      else this.drawPanel(context, panel, strength);
      this.drawTitle(context, panel);
    });
    this.drawFocus(context);
  }

  /** @param {CanvasRenderingContext2D} context */
  drawLinks(context) {
    const looked = this.hovered ?? this.selected();
    for (const pass of [0, 1]) {
      for (const link of this.links) {
        const mine = looked && ((looked.panel === link.to && looked.unit === link.unit) || looked.panel === link.from);
        if ((pass === 1) !== Boolean(mine)) continue;
        const start = this.anchor(link.from, link.source, link.to);
        const end = positionOf(link.to, link.unit);
        if (!start || !end) continue;
        const t = link.limit > 0 ? Math.min(1, Math.abs(link.value) / link.limit) : 0;
        const colour = link.value < 0 ? this.theme.palette.negative : this.theme.palette.positive;
        const quiet = looked && !mine ? 0.25 : 1;
        const shown = Math.max(0, Math.min(1, this.reveal - link.index + 1));
        context.strokeStyle = css(colour, Math.max(0.06, (0.14 + 0.7 * t) * quiet) * shown);
        context.lineWidth = mine ? 0.8 + 2.6 * t : 0.5 + 1.9 * t;
        context.setLineDash(link.value < 0 ? [5, 3] : []); // the sign also without colour
        context.beginPath();
        context.moveTo(start[0], start[1]);
        if (this.layout.across) {
          const middle = (start[0] + end[0]) / 2;
          context.bezierCurveTo(middle, start[1], middle, end[1], end[0], end[1]);
        } else {
          const middle = (start[1] + end[1]) / 2;
          context.bezierCurveTo(start[0], middle, end[0], middle, end[0], end[1]);
        }
        context.stroke();
      }
    }
    context.setLineDash([]);
  }

  /** Where a link begins: at the neuron below that feeds an input of the layer above. */
  anchor(/** @type {import("./layout.js").Panel} */ from, /** @type {number} */ source, /** @type {import("./layout.js").Panel} */ to) {
    const above = this.model.net.layers[to.index];
    if (from.form === "maps") {
      const layer = this.model.net.layers[from.index];
      if (above.kind === "Conv2D") return positionOf(from, source);
      return positionOf(from, unitsOf(layer).neuron(source));
    }
    if (from.form === "picture" && above.kind === "Conv2D") return /** @type {[number, number]} */ ([from.x + from.w, from.y + from.h / 2]);
    return positionOf(from, source);
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./layout.js").Panel} panel */
  drawInput(context, panel) {
    const { palette, dark } = this.theme;
    if (panel.form === "picture") {
      const [rows, columns, channels = 1] = this.model.inputs.shape;
      paint(context, this.x, { rows, columns, channels }, { x: panel.x, y: panel.y, w: panel.w, h: panel.h, limit: 1, mode: "ink", palette, dark });
      context.strokeStyle = css(dark ? [90, 98, 110] : [190, 196, 204]);
      context.lineWidth = 1;
      context.strokeRect(panel.x - 0.5, panel.y - 0.5, panel.w + 1, panel.h + 1);
      return;
    }
    const limit = 2.5;
    context.textBaseline = "middle";
    const size = Math.min(12.5, panel.cell * 0.72);
    panel.shown.forEach((unit, at) => {
      const y = panel.y + (at + 0.5) * panel.cell;
      const value = this.x[unit];
      context.fillStyle = css(signedColour(value, limit, palette));
      context.beginPath();
      context.arc(panel.x + panel.w - 7, y, Math.min(6, panel.cell * 0.36), 0, 2 * Math.PI);
      context.fill();
      context.font = `${size}px system-ui, sans-serif`;
      context.textAlign = "right";
      context.fillStyle = css(dark ? [235, 238, 242] : [28, 33, 40]);
      const words = this.model.inputWords(unit, value) ?? figure(value);
      context.fillText(words, panel.x + panel.w - 20, y);
      const taken = context.measureText(words).width;
      context.textAlign = "left";
      context.fillStyle = css(dark ? [165, 173, 184] : [92, 101, 112]);
      context.fillText(fitText(context, this.model.inputName(unit), panel.w - taken - 32), panel.x, y);
    });
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./layout.js").Panel} panel @param {number} strength */
  drawPanel(context, panel, strength) {
    const { palette, dark } = this.theme;
    const layer = this.model.net.layers[panel.index];
    const a = this.trace[panel.index].a;
    const limit = limitOf(layer, a);
    if (panel.form === "maps") {
      const s = pictureStrides(layer.output_shape, formatOf(layer));
      const tall = panel.h / Math.ceil(panel.shown.length / panel.columns);
      panel.shown.forEach((channel, at) => {
        const [x, y] = [panel.x + (at % panel.columns) * panel.cell, panel.y + Math.floor(at / panel.columns) * tall];
        context.globalAlpha = strength;
        paint(context, a, { rows: s.rows, columns: s.columns, at: (r, c) => r * s.row + c * s.column + channel * s.channel },
          { x: x + 1, y: y + 1, w: panel.cell - 2, h: tall - 2, limit, mode: "signed", palette, dark });
        context.globalAlpha = 1;
        if (this.model.isSilenced(panel.index, channel)) this.cross(context, x + panel.cell / 2, y + tall / 2, panel.cell / 3);
      });
      return;
    }
    if (panel.form === "tiles") {
      panel.shown.forEach((unit, at) => {
        let value = a[unit];
        for (let k = 1; k < panel.group && unit + k < panel.count; k++) if (Math.abs(a[unit + k]) > Math.abs(value)) value = a[unit + k];
        const [x, y] = [panel.x + (at % panel.columns) * panel.cell, panel.y + Math.floor(at / panel.columns) * panel.cell];
        context.fillStyle = css(signedColour(value * strength, limit, palette));
        const gap = panel.cell > 5 ? 1 : 0;
        context.fillRect(x, y, panel.cell - gap, panel.cell - gap);
        if (this.model.isSilenced(panel.index, unit)) this.cross(context, x + panel.cell / 2, y + panel.cell / 2, panel.cell / 3);
      });
      return;
    }
    const radius = Math.min(13, panel.cell * 0.4);
    for (const unit of panel.shown) {
      const at = positionOf(panel, unit);
      if (!at) continue;
      const value = a[unit] * strength;
      const share = limit > 0 && Number.isFinite(value) ? Math.min(1, Math.abs(value) / limit) : 0;
      const colour = signedColour(value, limit, palette);
      if (!this.theme.still && share > 0.25) {
        const glow = context.createRadialGradient(at[0], at[1], radius * 0.8, at[0], at[1], radius * (1.4 + 0.9 * share));
        glow.addColorStop(0, css(colour, 0.55 * share));
        glow.addColorStop(1, css(colour, 0));
        context.fillStyle = glow;
        context.beginPath();
        context.arc(at[0], at[1], radius * 2.4, 0, 2 * Math.PI);
        context.fill();
      }
      context.fillStyle = css(colour);
      context.strokeStyle = css(dark ? mix([120, 128, 140], colour, share) : mix([150, 158, 168], colour, share));
      context.lineWidth = 1.2;
      context.beginPath();
      context.arc(at[0], at[1], radius, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
      if (!Number.isFinite(a[unit]) || value < 0) {
        context.fillStyle = css(dark ? [16, 18, 22] : [255, 255, 255]);
        context.font = `bold ${Math.max(8, radius)}px system-ui, sans-serif`;
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillText(glyph(value), at[0], at[1] + 0.5);
      }
      if (this.model.isSilenced(panel.index, unit)) this.cross(context, at[0], at[1], radius);
    }
    if (panel.labelled) this.drawAnswers(context, panel, a);
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./layout.js").Panel} panel @param {Float32Array} a */
  drawAnswers(context, panel, a) {
    const { dark } = this.theme;
    const best = this.model.outputs.task === "multiclass" || a.length > 1 ? this.model.chosen(a) : 0;
    const share = this.model.net.layers[panel.index].activation === "softmax" || this.model.outputs.task === "binary";
    const right = this.store.now.example >= 0 && this.model.outputs.task === "multiclass" ? this.model.examples.y[this.store.now.example * this.model.outputsPerRow] : -1;
    for (const unit of panel.shown) {
      const at = positionOf(panel, unit);
      if (!at) continue;
      const x = at[0] + Math.min(13, panel.cell * 0.4) + 8;
      const words = this.model.outputs.task === "regression" ? figure(this.model.unit(a[unit]), 5) : share ? percent(a[unit]) : figure(a[unit]);
      const strong = unit === best && a.length > 1;
      context.textAlign = "left";
      context.textBaseline = "middle";
      context.font = `${strong ? "bold " : ""}${Math.min(13, Math.max(10, panel.cell * 0.55))}px system-ui, sans-serif`;
      context.fillStyle = css(dark ? (strong ? [255, 255, 255] : [178, 186, 197]) : strong ? [12, 15, 20] : [80, 89, 100]);
      const name = this.model.outputs.task === "regression" ? "" : a.length === 1 && this.model.outputs.task === "binary" ? this.model.className(1) : this.model.outputName(unit);
      const room = Math.max(20, this.layout.width - x - 52);
      const shownName = fitText(context, `${name}${unit === right ? " ✓" : ""}`, this.layout.across ? 48 : Math.min(room, 130));
      context.fillText(shownName, x, at[1]);
      context.textAlign = "right";
      context.fillText(words, this.layout.across ? Math.min(this.layout.width - 2, x + 102) : panel.x + panel.w, at[1]);
      if (share && a.length > 1 && !this.layout.across) {
        context.fillStyle = css(this.theme.palette.positive, 0.5);
        context.fillRect(x + 84, at[1] - 4, Math.max(0, panel.w - 200) * a[unit], 8);
      }
    }
    context.textAlign = "left";
  }

  /** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size */
  cross(context, x, y, size) {
    context.strokeStyle = css(this.theme.dark ? [255, 255, 255] : [0, 0, 0]);
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x - size, y - size);
    context.lineTo(x + size, y + size);
    context.moveTo(x + size, y - size);
    context.lineTo(x - size, y + size);
    context.stroke();
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./layout.js").Panel} panel */
  drawTitle(context, panel) {
    const { dark } = this.theme;
    context.fillStyle = css(dark ? [165, 173, 184] : [92, 101, 112]);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "bottom";
    const layer = panel.index < 0 ? null : this.model.net.layers[panel.index];
    const count = panel.index < 0 ? counted(panel.count, "input") : panel.form === "maps" ? counted(panel.count, "channel") : whole(panel.count);
    const some = panel.shown.length * panel.group < panel.count && panel.form !== "picture" ? ` (${whole(panel.shown.length)} shown)` : panel.group > 1 ? `, ${panel.group} a cell` : "";
    const words = panel.index < 0 ? count + some : `${visible(/** @type {any} */ (layer).name, 18)} · ${count}${some}`;
    const half = context.measureText(words).width / 2;
    const wanted = panel.labelled && panel.columns === 1 && panel.w > 60 ? panel.x + half : panel.x + panel.w / 2;
    const middle = Math.max(half + 2, Math.min(this.layout.width - half - 2, wanted));
    context.textAlign = "center";
    context.fillText(words, middle, panel.y - 7);
  }

  /** @param {CanvasRenderingContext2D} context */
  drawFocus(context) {
    const looked = this.hovered ?? this.selected();
    if (!looked || looked.panel.index < 0) return;
    const at = positionOf(looked.panel, looked.unit);
    if (!at) return;
    const focused = document.activeElement === this.canvas || /** @type {any} */ (this.canvas.getRootNode()).activeElement === this.canvas;
    context.strokeStyle = css(this.theme.dark ? [255, 255, 255] : [10, 12, 16]);
    context.lineWidth = focused ? 3 : 2;
    context.beginPath();
    if (looked.panel.form === "dots") context.arc(at[0], at[1], Math.min(13, looked.panel.cell * 0.4) + 3.5, 0, 2 * Math.PI);
    else {
      const tall = looked.panel.form === "maps" ? looked.panel.h / Math.ceil(looked.panel.shown.length / looked.panel.columns) : looked.panel.cell;
      context.rect(at[0] - looked.panel.cell / 2 - 1, at[1] - tall / 2 - 1, looked.panel.cell + 2, tall + 2);
    }
    context.stroke();
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
      this.links = this.findLinks();
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
    const drawn = this.links.length;
    const looked = this.selected();
    const what = this.store.now.links === "signals" ? "weight × activation" : "weights";
    const of = looked ? `of ${this.model.neuronName(looked.panel.index, looked.unit)} and the other layers` : "";
    this.line.textContent = `Links: the ${whole(drawn)} strongest ${of} of ${whole(this.linkCount)} weights, by ${what}; each layer on its own scale. Dashed is negative.`.replace(/ +/g, " ");
    const limit = Math.max(...this.layout.panels.slice(1).map((panel) => limitOf(this.model.net.layers[panel.index], this.trace[panel.index].a)));
    refill(this.legends, legend(this.linkLimit, this.theme, "links"), legend(limit, this.theme, "activation, at most"));
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

/**
 * The largest value of a layer's scale: 1 where its activation cannot be larger.
 * @param {import("./forward.js").Layer} layer
 * @param {ArrayLike<number>} a
 */
export function limitOf(layer, a) {
  return ["softmax", "sigmoid", "tanh"].includes(layer.activation ?? "") ? 1 : largestSize(a);
}

/**
 * Return a text that fits into so many pixels.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} room
 */
export function fitText(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}
