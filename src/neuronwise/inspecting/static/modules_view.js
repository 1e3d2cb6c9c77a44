// A model whose answers cannot be computed here: its modules in blocks, what follows what, a cell for each neuron.

import { largestOf, paintCells } from "./cells.js";
import { dataTable, h, openable, refill } from "./dom.js";
import { strongest } from "./layout.js";
import { cellOf, firstBelow, layOutModules, moduleAt } from "./modules_layout.js";
import { cardColour, fitText } from "./network_painter.js";
import { counted, figure, visible, whole } from "./numbers.js";
import { sharpen } from "./pictures.js";
import { quantity } from "./quantities.js";
import { css, largestSize } from "./scales.js";

const MOST_TALL = 680;

export class ModulesView {
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
    this.width = 0;
    /** @type {import("./modules_layout.js").ModuleLayout} */
    this.layout = layOutModules(model.net, 800);
    this.canvas = /** @type {HTMLCanvasElement} */ (h("canvas", {
      class: "nw-network nw-modules", tabindex: "0", role: "application",
      "aria-label": "The modules of the model. Up and down move between modules, left and right between neurons, Enter opens one; the table below holds the same numbers.",
    }));
    this.tip = h("div", { class: "nw-tip", hidden: true });
    this.space = h("div", { class: "nw-modulespace" }, this.canvas);
    this.frame = h("div", { class: "nw-moduleframe" }, this.space);
    this.line = h("p", { class: "nw-note" });
    this.table = h("div", {});
    root.append(h("div", { class: "nw-canvasframe" }, this.frame, this.tip), this.line, this.table);
    /** @type {{row: import("./modules_layout.js").ModuleRow, neuron: number | null} | null} */
    this.hovered = null;
    this.shownLayer = -1;
    const options = { signal };
    this.frame.addEventListener("scroll", () => this.draw(), { signal, passive: true });
    this.canvas.addEventListener("pointermove", (event) => this.hover(event), options);
    this.canvas.addEventListener("pointerleave", () => { this.hovered = null; this.tip.hidden = true; this.draw(); }, options);
    this.canvas.addEventListener("click", (event) => this.click(event), options);
    this.canvas.addEventListener("keydown", (event) => this.key(event), options);
    for (const name of ["focus", "blur"]) this.canvas.addEventListener(name, () => this.draw(), options);
    const watcher = new ResizeObserver(() => this.resize());
    watcher.observe(root);
    signal.addEventListener("abort", () => watcher.disconnect(), { once: true });
    this.resize();
  }

  pulse() {}

  resize() {
    const width = Math.floor(this.frame.clientWidth);
    if (!width || width === this.width) return;
    this.width = width;
    this.layout = layOutModules(this.model.net, width);
    this.space.style.height = `${this.layout.height}px`;
    this.update();
  }

  get frameAt() {
    return this.model.frameOf(this.store.now.step);
  }

  update() {
    if (!this.width) return;
    const { layer } = this.store.now;
    if (layer !== this.shownLayer) {
      this.shownLayer = layer;
      const row = this.layout.rows[layer];
      if (row && (row.y < this.frame.scrollTop || row.y + row.h > this.frame.scrollTop + this.frame.clientHeight)) this.frame.scrollTop = Math.max(0, row.y - this.frame.clientHeight / 2);
    }
    this.draw();
    this.tell();
  }

  draw() {
    const { layout } = this;
    const height = Math.min(MOST_TALL, layout.height);
    const top = Math.max(0, Math.min(this.frame.scrollTop, layout.height - height));
    const context = sharpen(this.canvas, layout.width, height);
    context.clearRect(0, 0, layout.width, height);
    context.save();
    context.translate(0, -top);
    const { dark } = this.theme;
    for (const block of layout.blocks) {
      if (!block.title || block.y > top + height || block.y + block.h < top) continue;
      context.fillStyle = css(blockColour(dark));
      context.beginPath();
      context.roundRect(layout.gutter - 8, block.y, layout.width - layout.gutter + 6, block.h, 7);
      context.fill();
      this.write(context, visible(block.title, 60), layout.gutter, block.y + 12, layout.width - layout.gutter - 20, "bold 12px", false);
    }
    this.drawLinks(context, top, height);
    const name = this.store.now.show;
    const frame = this.frameAt;
    for (let k = firstBelow(layout.rows, top); k < layout.rows.length && layout.rows[k].y < top + height; k++) this.drawRow(context, layout.rows[k], name, frame);
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./modules_layout.js").ModuleRow} row @param {string} name @param {number} frame */
  drawRow(context, row, name, frame) {
    const { layout, model, theme } = this;
    const layer = model.net.layers[row.index];
    const { layer: chosen, neuron } = this.store.now;
    const middle = layout.narrow ? row.y + 9 : row.y + row.h / 2;
    const kind = `${visible(layer.kind, 24)}${layer.activation ? ` → ${layer.activation}` : ""}`;
    const room = layout.narrow ? layout.width - layout.gutter - 64 : layout.label - 10;
    const taken = this.write(context, visible(row.short || row.name, 48), layout.gutter, middle, room, row.index === chosen ? "bold 13px" : "13px", false);
    if (room - taken > 40) this.write(context, kind, layout.gutter + taken + 8, middle, room - taken - 8, "11px", true);
    const values = this.valuesOf(row, name, frame);
    const { strip } = row;
    if (!values) {
      const words = !layer.neurons ? "no neurons of its own" : frame < 0 ? "no statistics" : "not measured of this module";
      this.write(context, words, strip.x, row.strip.y + 8, layout.width - strip.x - 8, "11px", true);
    } else {
      const limit = largestSize(values);
      paintCells(context, values, { rows: strip.rows, columns: strip.columns, count: strip.cells }, { x: strip.x, y: strip.y, cell: strip.cell, limit, gap: strip.cell > 5 ? 1 : 0, ground: row.block ? blockColour(theme.dark) : cardColour(theme.dark), ...theme });
      const shown = strip.group > 1 ? `, ${strip.group} a cell` : "";
      const scale = limit > 0 || !values.some((value) => !Number.isFinite(value)) ? `to ${figure(limit, 2)}` : "not finite";
      if (layout.narrow) {
        context.textAlign = "right";
        this.write(context, scale, layout.width - 6, middle, 60, "11px", false);
        context.textAlign = "left";
      } else {
        const wide = this.write(context, scale, layout.end, middle, 60, "11px", false);
        this.write(context, `of ${whole(layer.neurons)}${shown}`, layout.end + Math.max(wide + 8, 58), middle, layout.width - layout.end - 64, "11px", true);
      }
    }
    if (row.index === chosen && layer.neurons) {
      const at = cellOf(row, Math.min(neuron, layer.neurons - 1));
      context.strokeStyle = css(theme.dark ? [255, 255, 255] : [10, 12, 16]);
      context.lineWidth = document.activeElement === this.canvas ? 3 : 2;
      context.strokeRect(at[0] - strip.cell / 2 - 2, at[1] - strip.cell / 2 - 2, strip.cell + 3, strip.cell + 3);
    }
  }

  /**
   * Values of the cells of a row: of a group the largest; null where nothing was measured.
   * @param {import("./modules_layout.js").ModuleRow} row @param {string} name @param {number} frame
   */
  valuesOf(row, name, frame) {
    const found = this.model.atFrame(row.index, name, frame);
    if (!found || !row.strip.cells || found.values.every((value) => value !== value) && !this.hasOdd(row.index, frame)) return null;
    const { cells, group } = row.strip;
    const { values, spacing } = found;
    return Float32Array.from({ length: cells }, (_, k) => {
      const from = Math.min(values.length - 1, Math.floor((k * group) / spacing));
      return largestOf(values, from, Math.min(values.length, Math.max(from + 1, Math.ceil(((k + 1) * group) / spacing))));
    });
  }

  /** Whether a module has values that are not finite at a frame. @param {number} index @param {number} frame */
  hasOdd(index, frame) {
    return ["nonfinite_weights", "nonfinite_gradients", "nonfinite_activations"].some((name) => (this.model.sumOf(index, name)?.values[frame] ?? 0) > 0);
  }

  /**
   * Lines from each module to those that take in what it returns; dashed those that come past others.
   * @param {CanvasRenderingContext2D} context @param {number} top @param {number} height
   */
  drawLinks(context, top, height) {
    const { layout, model } = this;
    const { links = [], skips = [] } = /** @type {any} */ (model.net);
    const chosen = this.hovered?.row.index ?? this.store.now.layer;
    const right = layout.gutter - 10;
    for (const [pairs, isSkip] of /** @type {[number[][], boolean][]} */ ([[skips, true], [links, false]])) {
      for (const [from, to] of pairs) {
        const [p, q] = [layout.rows[from], layout.rows[to]];
        if (!p || !q) continue;
        const [y1, y2] = [p.y + p.h / 2 + 3, q.y + q.h / 2 - 3];
        if (Math.max(y1, y2) < top || Math.min(y1, y2) > top + height) continue;
        const mine = from === chosen || to === chosen;
        const far = Math.abs(to - from) - 1;
        const reach = far < 1 ? 4 : Math.min(right - 3, 9 + 7 * Math.log2(far + 1));
        context.strokeStyle = css(mine ? this.theme.palette.positive : this.theme.dark ? [110, 120, 134] : [150, 158, 168]);
        context.lineWidth = mine ? 2 : 1.1;
        context.setLineDash(isSkip ? [4, 3] : []);
        context.beginPath();
        context.moveTo(right, y1);
        context.bezierCurveTo(right - reach, y1, right - reach, y2, right, y2);
        context.stroke();
        context.setLineDash([]);
        context.beginPath();
        context.moveTo(right + 4, y2);
        context.lineTo(right - 2, y2 - 3.5);
        context.lineTo(right - 2, y2 + 3.5);
        context.closePath();
        context.fillStyle = context.strokeStyle;
        context.fill();
      }
    }
  }

  /**
   * Write a text and return its width.
   * @param {CanvasRenderingContext2D} context @param {string} text @param {number} x @param {number} y @param {number} room
   * @param {string} font @param {boolean} quiet
   */
  write(context, text, x, y, room, font, quiet) {
    const { dark } = this.theme;
    context.font = `${font} system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.fillStyle = css(quiet ? (dark ? [165, 173, 184] : [92, 101, 112]) : dark ? [235, 238, 242] : [28, 33, 40]);
    const shown = fitText(context, text, room);
    context.fillText(shown, x, y);
    return context.measureText(shown).width;
  }

  /** @param {PointerEvent | MouseEvent} event */
  pointed(event) {
    const box = this.canvas.getBoundingClientRect();
    const height = Math.min(MOST_TALL, this.layout.height);
    const top = Math.max(0, Math.min(this.frame.scrollTop, this.layout.height - height));
    return moduleAt(this.layout, event.clientX - box.left, event.clientY - box.top + top);
  }

  /** @param {PointerEvent} event */
  hover(event) {
    const found = this.pointed(event);
    const changed = found?.row !== this.hovered?.row;
    this.hovered = found;
    if (changed) this.draw();
    this.tip.hidden = !found;
    if (!found) return;
    refill(this.tip, ...this.tipWords(found.row, found.neuron));
    const box = /** @type {HTMLElement} */ (this.frame.parentElement).getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.tip.style.left = `${Math.max(4, Math.min(x + 14, box.width - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${y + this.tip.offsetHeight + 24 > box.height ? y - this.tip.offsetHeight - 10 : y + 16}px`;
  }

  /** @param {import("./modules_layout.js").ModuleRow} row @param {number | null} neuron */
  tipWords(row, neuron) {
    const layer = this.model.net.layers[row.index];
    if (neuron === null) return [h("b", {}, visible(row.name, 80)), h("br"), `${visible(layer.kind, 40)}, ${counted(layer.neurons, "neuron")}, ${whole(layer.parameter_count)} weights and biases`];
    const { words } = quantity(this.store.now.show);
    const found = this.model.atFrame(row.index, this.store.now.show, this.frameAt);
    const value = found ? found.values[Math.floor(neuron / found.spacing)] : NaN;
    const some = row.strip.group > 1 ? ` and the ${row.strip.group - 1} after it` : "";
    return [h("b", {}, this.model.neuronName(row.index, neuron)), some, h("br"), `${words} ${figure(value)}`];
  }

  /** @param {MouseEvent} event */
  click(event) {
    const found = this.pointed(event);
    if (!found) return;
    if (found.neuron === null) this.store.set({ layer: found.row.index, neuron: 0, view: "layer" });
    else this.store.set({ layer: found.row.index, neuron: found.neuron, view: "neuron" });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { layer, neuron } = this.store.now;
    const count = this.model.net.layers.length;
    const row = this.layout.rows[layer];
    const moves = new Map([["ArrowUp", [-1, 0]], ["ArrowDown", [1, 0]], ["ArrowLeft", [0, -1]], ["ArrowRight", [0, 1]]]);
    const move = moves.get(event.key);
    if (event.key === "Enter") this.store.set({ view: "neuron", focus: "panel" });
    else if (move) {
      const next = Math.max(0, Math.min(count - 1, layer + move[0]));
      const most = Math.max(0, this.model.net.layers[next].neurons - 1);
      this.store.set({ layer: next, neuron: Math.max(0, Math.min(most, neuron + move[1] * (row?.strip.group ?? 1))), row: -1, column: -1 });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  tell() {
    const { model } = this;
    const { show, step } = this.store.now;
    const { links = [], skips = [], seen } = /** @type {any} */ (model.net);
    const how = seen ? `Lines: what takes in what, as seen in the autograd graph (${whole(links.length)}); dashed, what comes past other modules (${whole(skips.length)}).` : "What takes in what was not seen; the modules stand in their order.";
    this.line.textContent = `Each row is a module, each cell a neuron: ${quantity(show).words}, each row on its own scale; × is NaN. ${how} ${model.statisticsNote(step)}`;
    const open = this.table.querySelector("details")?.open;
    const details = openable("The picture as a table", () => this.asTable());
    refill(this.table, details);
    if (open) details.open = true;
  }

  asTable() {
    const { show, step } = this.store.now;
    const rows = this.layout.rows.map((row) => {
      const layer = this.model.net.layers[row.index];
      const found = this.model.atFrame(row.index, show, this.frameAt);
      const top = found ? strongest(found.values, 5).map((k) => `${this.model.neuronName(row.index, k * found.spacing)} ${figure(found.values[k])}`).join(", ") : "";
      const known = found ? Array.from(found.values).filter((value) => !Number.isNaN(value)) : [];
      return [visible(row.name, 60), visible(layer.kind, 30), whole(layer.neurons), known.length ? figure(known.reduce((sum, value) => sum + value, 0) / known.length) : "", top];
    });
    return dataTable(`Modules at step ${whole(step)}: ${quantity(show).words}`, ["module", "kind", "neurons", "mean over neurons", "largest"], rows);
  }
}

/** What the rows of a block stand on. @param {boolean} dark @returns {import("./scales.js").Colour} */
function blockColour(dark) {
  return dark ? [30, 35, 42] : [243, 245, 248];
}
