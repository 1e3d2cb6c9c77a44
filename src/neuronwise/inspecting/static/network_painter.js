// The picture of a network, painted: links, inputs, neurons that glow, answers, titles, the frame of what is looked at.

import { pictureStrides, unitsOf } from "./forward.js";
import { laneOf, positionOf } from "./layout.js";
import { counted, figure, steadyPercent, visible, whole } from "./numbers.js";
import { largestOf, paintCells } from "./cells.js";
import { paint, sharpen } from "./pictures.js";
import { css, glyph, largestSize, mix, signedColour } from "./scales.js";
import { formatOf } from "./sums.js";

/**
 * @typedef {import("./layout.js").Panel} Panel
 * @typedef {{layout: import("./layout.js").Layout, trace: import("./forward.js").LayerTrace[], x: Float32Array,
 *   links: import("./network_links.js").Link[], looked: import("./network_links.js").Looked | null, reveal: number,
 *   now: import("./state.js").Selection, focused: boolean}} Scene what is drawn; `reveal`: so many layers are shown
 */

const VALUE = 66; // pixels for the value of an output

export class NetworkPainter {
  /** @param {import("./model.js").Model} model @param {{palette: any, dark: boolean, still: boolean}} theme */
  constructor(model, theme) {
    this.model = model;
    this.theme = theme;
    this.scene = /** @type {Scene} */ ({});
    this.context = /** @type {CanvasRenderingContext2D} */ (/** @type {unknown} */ (null));
  }

  /** @param {HTMLCanvasElement} canvas @param {Scene} scene */
  paint(canvas, scene) {
    const { width, height } = scene.layout;
    this.scene = scene;
    this.context = sharpen(canvas, width, height);
    this.context.clearRect(0, 0, width, height);
    this.drawLinks();
    scene.layout.panels.forEach((panel, p) => {
      if (panel.index < 0) this.drawInput(panel);
      else this.drawPanel(panel, Math.max(0, Math.min(1, scene.reveal - p)));
      this.drawTitle(panel);
    });
    this.drawFocus();
  }

  drawLinks() {
    const { context, scene } = this;
    const { looked } = scene;
    for (const pass of [0, 1]) {
      for (const link of scene.links) {
        const mine = looked && ((looked.panel === link.to && looked.unit === link.unit) || looked.panel === link.from);
        if ((pass === 1) !== Boolean(mine)) continue;
        const start = this.anchor(link.from, link.source, link.to);
        const end = positionOf(link.to, link.unit);
        if (!start || !end) continue;
        const t = link.limit > 0 ? Math.min(1, Math.abs(link.value) / link.limit) : 0;
        const colour = link.value < 0 ? this.theme.palette.negative : this.theme.palette.positive;
        const quiet = looked && !mine ? 0.25 : 1;
        const shown = Math.max(0, Math.min(1, scene.reveal - link.index + 1));
        context.strokeStyle = css(colour, Math.max(0.06, (0.14 + 0.7 * t) * quiet) * shown);
        context.lineWidth = mine ? 0.8 + 2.6 * t : 0.5 + 1.9 * t;
        context.setLineDash(link.value < 0 ? [5, 3] : []); // the sign also without colour
        context.beginPath();
        context.moveTo(start[0], start[1]);
        if (scene.layout.across) {
          const middle = (start[0] + end[0]) / 2;
          context.bezierCurveTo(middle, start[1], middle, end[1], end[0], end[1]);
        } else this.runDown(link, start, end);
        context.stroke();
      }
    }
    context.setLineDash([]);
  }

  /**
   * A link of a picture from top to bottom; beside a list of names it runs in a lane of its own.
   * @param {import("./network_links.js").Link} link @param {[number, number]} start @param {[number, number]} end
   */
  runDown(link, start, end) {
    const { context } = this;
    const [out, into] = [laneOf(link.from, link.source, 0), laneOf(link.to, link.unit, link.source / link.from.count)];
    let [[x0, y0], [x1, y1]] = [start, end];
    if (out) {
      context.quadraticCurveTo(out.lane, y0, out.lane, Math.min(y0 + 14, out.edge));
      context.lineTo(out.lane, out.edge);
      [x0, y0] = [out.lane, out.edge];
    }
    if (into) [x1, y1] = [into.lane, into.edge];
    const middle = (y0 + y1) / 2;
    context.bezierCurveTo(x0, middle, x1, middle, x1, y1);
    if (into) {
      context.lineTo(into.lane, Math.max(into.edge, end[1] - 14));
      context.quadraticCurveTo(into.lane, end[1], end[0], end[1]);
    }
  }

  /** Where a link begins: at the neuron below that feeds an input of the layer above. */
  anchor(/** @type {Panel} */ from, /** @type {number} */ source, /** @type {Panel} */ to) {
    const above = this.model.net.layers[to.index];
    if (from.form === "maps") {
      const layer = this.model.net.layers[from.index];
      if (above.kind === "Conv2D") return positionOf(from, source);
      return positionOf(from, unitsOf(layer).neuron(source));
    }
    if (from.form === "picture" && above.kind === "Conv2D") return /** @type {[number, number]} */ ([from.x + from.w, from.y + from.h / 2]);
    return positionOf(from, source);
  }

  /** @param {Panel} panel */
  drawInput(panel) {
    const { context } = this;
    const { palette, dark } = this.theme;
    if (panel.form === "picture") {
      const [rows, columns, channels = 1] = this.model.inputs.shape;
      const { planes = false, low = 0, high = 1 } = this.model.inputs;
      paint(context, this.scene.x, { rows, columns, channels, at: planes ? (r, c, k) => (k * rows + r) * columns + c : undefined }, { x: panel.x, y: panel.y, w: panel.w, h: panel.h, limit: high, low, mode: "ink", palette, dark });
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
      const value = this.scene.x[unit];
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

  /** The largest value of a layer's scale; a number that is answered is seen beside the spread of what is usual. @param {number} index @param {ArrayLike<number>} a */
  scaleOf(index, a) {
    const { net, outputs } = this.model;
    const limit = limitOf(net.layers[index], a);
    return outputs.task === "regression" && index === net.layers.length - 1 ? Math.max(2.5, limit) : limit;
  }

  /** @param {Panel} panel @param {number} strength */
  drawPanel(panel, strength) {
    const { context } = this;
    const { palette, dark } = this.theme;
    const layer = this.model.net.layers[panel.index];
    const a = this.scene.trace[panel.index].a;
    const limit = this.scaleOf(panel.index, a);
    if (panel.form === "maps") {
      const s = pictureStrides(layer.output_shape, formatOf(layer));
      const tall = panel.h / Math.ceil(panel.shown.length / panel.columns);
      const inset = Math.min(panel.cell, tall) > 26 ? 2.5 : 1; // so that one map is told from the next
      panel.shown.forEach((channel, at) => {
        const [x, y] = [panel.x + (at % panel.columns) * panel.cell, panel.y + Math.floor(at / panel.columns) * tall];
        context.globalAlpha = strength;
        paint(context, a, { rows: s.rows, columns: s.columns, at: (r, c) => r * s.row + c * s.column + channel * s.channel },
          { x: x + inset, y: y + inset, w: panel.cell - 2 * inset, h: tall - 2 * inset, limit, mode: "signed", palette, dark });
        context.globalAlpha = 1;
        if (this.model.isSilenced(panel.index, channel)) this.cross(x + panel.cell / 2, y + tall / 2, panel.cell / 3);
      });
      return;
    }
    if (panel.form === "tiles") {
      this.drawTiles(panel, a, limit, strength);
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
      if (this.model.isSilenced(panel.index, unit)) this.cross(at[0], at[1], radius);
    }
    if (panel.labelled) this.drawAnswers(panel, a);
  }

  /**
   * A wide layer: a cell for each neuron, or for the largest of a group.
   * @param {Panel} panel @param {Float32Array} a @param {number} limit @param {number} strength
   */
  drawTiles(panel, a, limit, strength) {
    const { context } = this;
    const { shown, columns, cell, group } = panel;
    const rows = Math.ceil(shown.length / columns);
    const values = new Float32Array(rows * columns);
    shown.forEach((unit, at) => { values[at] = largestOf(a, unit, Math.min(panel.count, unit + group)) * strength; });
    paintCells(context, values, { rows, columns, count: shown.length }, { x: panel.x, y: panel.y, cell, limit, gap: cell > 5 ? 1 : 0, ground: cardColour(this.theme.dark), ...this.theme });
    for (const unit of this.model.silenced.get(panel.index) ?? []) {
      const at = Math.floor(unit / group);
      this.cross(panel.x + ((at % columns) + 0.5) * cell, panel.y + (Math.floor(at / columns) + 0.5) * cell, cell / 3);
    }
  }

  /** Return how many pixels names and values of the outputs would take beside them. @param {CanvasRenderingContext2D} context */
  answersWidth(context) {
    const { count } = unitsOf(this.model.net.layers[this.model.net.layers.length - 1]);
    if (count > 64) return 0;
    context.font = "bold 13px system-ui, sans-serif";
    return 24 + VALUE + 12 + Math.max(...Array.from({ length: count }, (_, unit) => context.measureText(`${this.model.answerName(unit)} ✓`).width));
  }

  /** @param {Panel} panel @param {Float32Array} a */
  drawAnswers(panel, a) {
    const { context, scene } = this;
    const { dark } = this.theme;
    const { task } = this.model.outputs;
    const { across } = scene.layout;
    const best = task === "multiclass" || a.length > 1 ? this.model.chosen(a) : 0;
    const share = this.model.net.layers[panel.index].activation === "softmax" || task === "binary";
    const right = scene.now.example >= 0 && task === "multiclass" ? this.model.examples.y[scene.now.example * this.model.outputsPerRow] : -1;
    const from = Math.min(13, panel.cell * 0.4) + panel.cell / 2 + 8;
    const end = across ? Math.min(scene.layout.width - 2, panel.x + panel.w + scene.layout.labels) : panel.x + panel.w;
    const bar = share && a.length > 1 && !across ? 50 : 0;
    const start = across ? panel.x + panel.w - panel.cell + from : panel.x + from;
    const room = Math.max(20, end - start - VALUE - bar - 6);
    context.textBaseline = "middle";
    const names = panel.shown.map((unit) => {
      const strong = unit === best && a.length > 1;
      context.font = `${strong ? "bold " : ""}${Math.min(13, Math.max(10, panel.cell * 0.55))}px system-ui, sans-serif`;
      return { unit, strong, font: context.font, name: fitText(context, `${this.model.answerName(unit)}${unit === right ? " ✓" : ""}`, room) };
    });
    const longest = Math.max(...names.map((one) => { context.font = one.font; return context.measureText(one.name).width; }));
    for (const { unit, strong, font, name } of names) {
      const at = positionOf(panel, unit);
      if (!at) continue;
      context.font = font;
      context.fillStyle = css(dark ? (strong ? [255, 255, 255] : [178, 186, 197]) : strong ? [12, 15, 20] : [80, 89, 100]);
      context.textAlign = "left";
      context.fillText(name, start, at[1]);
      context.textAlign = "right";
      context.fillText(task === "regression" ? figure(this.model.unit(a[unit]), 5) : share ? steadyPercent(a[unit]) : figure(a[unit]), end, at[1]);
      if (!bar) continue;
      context.fillStyle = css(this.theme.palette.positive, 0.5);
      context.fillRect(start + longest + 8, at[1] - 4, Math.max(0, end - VALUE - 8 - start - longest) * a[unit], 8);
    }
    context.textAlign = "left";
  }

  /** @param {number} x @param {number} y @param {number} size */
  cross(x, y, size) {
    const { context } = this;
    context.strokeStyle = css(this.theme.dark ? [255, 255, 255] : [0, 0, 0]);
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x - size, y - size);
    context.lineTo(x + size, y + size);
    context.moveTo(x + size, y - size);
    context.lineTo(x - size, y + size);
    context.stroke();
  }

  /** @param {Panel} panel */
  drawTitle(panel) {
    const { context, scene } = this;
    const { dark } = this.theme;
    context.fillStyle = css(dark ? [165, 173, 184] : [92, 101, 112]);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "bottom";
    const layer = panel.index < 0 ? null : this.model.net.layers[panel.index];
    const count = panel.index < 0 ? counted(panel.count, "input") : panel.form === "maps" ? counted(panel.count, "channel") : whole(panel.count);
    const some = panel.shown.length * panel.group < panel.count && panel.form !== "picture" ? ` (${whole(panel.shown.length)} shown)` : panel.group > 1 ? `, ${panel.group} a cell` : "";
    const words = panel.index < 0 ? count + some : `${/^\d+$/.test(/** @type {any} */ (layer).name) ? "layer " : ""}${visible(/** @type {any} */ (layer).name, 18)} · ${count}${some}`;
    const half = context.measureText(words).width / 2;
    const wanted = panel.labelled && panel.columns === 1 && panel.w > 60 ? panel.x + half + (scene.layout.across ? 0 : panel.cell) : panel.x + panel.w / 2;
    const middle = Math.max(half + 2, Math.min(scene.layout.width - half - 2, wanted));
    context.textAlign = "center";
    context.strokeStyle = css(cardColour(dark), 0.85); // links that run behind it are kept off it
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeText(words, middle, panel.y - 7);
    context.fillText(words, middle, panel.y - 7);
  }

  drawFocus() {
    const { context, scene } = this;
    const { looked } = scene;
    if (!looked || looked.panel.index < 0) return;
    const at = positionOf(looked.panel, looked.unit);
    if (!at) return;
    context.strokeStyle = css(this.theme.dark ? [255, 255, 255] : [10, 12, 16]);
    context.lineWidth = scene.focused ? 3 : 2;
    context.beginPath();
    if (looked.panel.form === "dots") context.arc(at[0], at[1], Math.min(13, looked.panel.cell * 0.4) + 3.5, 0, 2 * Math.PI);
    else {
      const tall = looked.panel.form === "maps" ? looked.panel.h / Math.ceil(looked.panel.shown.length / looked.panel.columns) : looked.panel.cell;
      context.rect(at[0] - looked.panel.cell / 2 - 1, at[1] - tall / 2 - 1, looked.panel.cell + 2, tall + 2);
    }
    context.stroke();
  }
}

/** What the picture stands on. @param {boolean} dark @returns {import("./scales.js").Colour} */
export function cardColour(dark) {
  return dark ? [23, 27, 33] : [255, 255, 255];
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
