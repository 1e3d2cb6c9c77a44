// Where everything of the network stands in its picture: pure geometry, no drawing.

import { pictureStrides, product, unitsOf } from "./forward.js";
import { formatOf } from "./sums.js";

/**
 * @typedef {{index: number, form: "picture" | "rows" | "dots" | "tiles" | "maps", x: number, y: number, w: number,
 *   h: number, count: number, shown: number[], columns: number, cell: number, group: number, rows?: number,
 *   labelled?: boolean}} Panel a layer in the picture. `index` −1 is the input. `count` neurons, of which `shown` are
 *   drawn, in cells of so many pixels, in so many columns; in tiles a cell may stand for a `group` of neurons
 * @typedef {{panels: Panel[], width: number, height: number, across: boolean, labels: number}} Layout `labels`: to the
 *   right of the outputs so many pixels are for their names and values
 */

const LABEL = 24;
const LEAST_GAP = 46; // between two layers, so that links and titles can be told apart
const LEAST_LABELS = 112;
const LANE = 40; // beside a list of names, where links run that would else run over them
const MOST_DOTS = 64;
const MOST_CELLS = 4096;
const MOST_MAPS = 64;

/**
 * Return the layers that are drawn: those that only hand on what they got are not.
 * @param {import("./forward.js").Net} net
 */
export function drawnLayers(net) {
  return net.layers.map((layer, index) => ({ layer, index })).filter(({ layer }) => layer.kind !== "Flatten" && layer.kind !== "Dropout");
}

/**
 * Return where everything stands in a picture of so many pixels' width: layers from left to right, or on narrow
 * pages from top to bottom.
 * @param {import("./forward.js").Net} net
 * @param {any} inputs what the inputs are
 * @param {number} width
 * @param {number[]} [rows] inputs of a table that are drawn
 * @param {number} [names] pixels that names and values of the outputs would take
 * @param {boolean} [wide] whether from left to right, if there is room
 * @returns {Layout}
 */
export function layOut(net, inputs, width, rows = [], names = 0, wide = width >= 620) {
  const layers = drawnLayers(net);
  const across = wide;
  const height = across ? Math.max(400, Math.min(620, width * 0.5)) : 0;
  const panels = [inputPanel(net, inputs, rows, across, width, height)];
  const last = layers[layers.length - 1].index;
  for (const { layer, index } of layers) panels.push(layerPanel(layer, index, index === last, across, width, height));
  if (across) {
    const gaps = Math.max(panels.length - 1, 1);
    const left = width - 8 - panels.reduce((all, panel) => all + panel.w, 0);
    const wanted = Math.max(LEAST_LABELS, Math.min(names, width * 0.24));
    const labels = Math.max(LEAST_LABELS, Math.min(wanted, left - gaps * 1.5 * LEAST_GAP));
    const gap = (left - labels) / gaps;
    if (gap < LEAST_GAP) return layOut(net, inputs, width, rows, names, false);
    let x = 4;
    const tallest = Math.max(height, ...panels.map((panel) => panel.h + LABEL + 12));
    for (const panel of panels) {
      panel.x = x;
      panel.y = LABEL + Math.max(0, (tallest - LABEL - panel.h) / 2);
      x += panel.w + gap;
    }
    return { panels, width, height: tallest, across, labels };
  }
  let y = 0;
  for (const panel of panels) {
    panel.x = Math.max(0, (width - panel.w) / 2);
    if (panel.labelled) panel.x = Math.max(panel.x, LANE);
    if (panel.form === "rows") panel.x = Math.max(0, Math.min(panel.x, width - panel.w - LANE));
    panel.y = y + LABEL;
    y += panel.h + LABEL + 40;
  }
  return { panels, width, height: y - 14, across, labels: 0 };
}

/**
 * @param {import("./forward.js").Net} net
 * @param {any} inputs
 * @param {number[]} rows
 * @param {boolean} across
 * @param {number} width
 * @param {number} height
 * @returns {Panel}
 */
function inputPanel(net, inputs, rows, across, width, height) {
  const count = product(net.input_shape);
  const base = { index: -1, x: 0, y: 0, count, shown: /** @type {number[]} */ ([]), columns: 1, cell: 0, group: 1 };
  if (inputs.kind === "picture") {
    const [h, w] = inputs.shape;
    const side = across ? Math.min(220, width * 0.22) : Math.min(180, width * 0.55);
    const cell = side / Math.max(h, w);
    return { ...base, form: "picture", cell, columns: w, w: cell * w, h: cell * h, rows: h };
  }
  const cell = across ? Math.max(15, Math.min(26, (height - 40) / Math.max(rows.length, 1))) : 19;
  return { ...base, form: "rows", shown: rows, cell, w: across ? Math.min(270, width * 0.3) : Math.min(width - LANE, 340), h: cell * rows.length };
}

/**
 * @param {import("./forward.js").Layer} layer
 * @param {number} index
 * @param {boolean} isLast
 * @param {boolean} across
 * @param {number} width
 * @param {number} height
 * @returns {Panel}
 */
function layerPanel(layer, index, isLast, across, width, height) {
  const { count } = unitsOf(layer);
  const base = { index, x: 0, y: 0, count, shown: Array.from({ length: Math.min(count, MOST_CELLS) }, (_, i) => i), columns: 1, cell: 0, group: 1 };
  if (layer.output_shape.length > 1) {
    const s = pictureStrides(layer.output_shape, formatOf(layer));
    const shown = base.shown.slice(0, MOST_MAPS);
    const room = across ? Math.min(190, width * 0.2) : width - 8;
    const columns = across ? Math.ceil(Math.sqrt(shown.length / 2)) : evenly(shown.length, Math.floor(room / 46));
    const cell = Math.min(across ? 64 : 56, room / columns, across ? (height - 40) / Math.ceil(shown.length / columns) : 99);
    return { ...base, form: "maps", shown, columns, cell, w: cell * columns, h: cell * Math.ceil(shown.length / columns) * Math.min(1, s.rows / s.columns || 1) };
  }
  if (count <= MOST_DOTS) {
    if (isLast && !across) {
      const cell = 24; // each with its name and bar beside it
      return { ...base, form: "dots", cell, w: Math.min(width - LANE, 340), h: cell * count, labelled: true };
    }
    if (across) {
      const least = Math.ceil(count / 22);
      const columns = least > 1 && count % least && count % (least + 1) === 0 ? least + 1 : least; // rather full rows
      const cell = Math.max(13, Math.min(34, (height - 50) / Math.ceil(count / columns)));
      return { ...base, form: "dots", columns, cell, w: cell * columns, h: cell * Math.ceil(count / columns), labelled: isLast };
    }
    const cell = Math.max(20, Math.min(34, (width - 8) / count));
    const columns = evenly(count, Math.floor((width - 8) / cell));
    return { ...base, form: "dots", columns, cell, w: cell * columns, h: cell * Math.ceil(count / columns) };
  }
  const group = Math.ceil(count / MOST_CELLS);
  const cells = Math.ceil(count / group);
  const shown = Array.from({ length: cells }, (_, i) => i * group);
  const across2 = across ? Math.min(170, width * 0.17) : width - 8;
  const columns = across ? Math.max(4, Math.ceil(Math.sqrt(cells / 2.4))) : Math.max(8, Math.min(cells, Math.floor(across2 / Math.max(6, Math.sqrt((across2 * 200) / cells)))));
  const cell = Math.max(2, Math.min(20, across2 / columns, across ? (height - 50) / Math.ceil(cells / columns) : 20));
  return { ...base, form: "tiles", group, shown, columns, cell, w: cell * columns, h: cell * Math.ceil(cells / columns) };
}

/** In how many columns so many stand in rows of much the same length. @param {number} count @param {number} most */
function evenly(count, most) {
  return Math.ceil(count / Math.ceil(count / Math.max(1, Math.min(count, most))));
}

/**
 * Return where a link runs in a picture from top to bottom, so that it runs over no name or number of a list: where it
 * leaves the list it begins in, and where it enters the one it ends in. Null at an end that is in no list.
 * @param {Panel} panel
 * @param {number} unit
 * @param {number} share from 0 to 1: of several links to one neuron each has its own
 * @returns {{lane: number, edge: number} | null} `lane`: from left; `edge`: the list's lower (upper) edge
 */
export function laneOf(panel, unit, share) {
  if (panel.form === "rows") return { lane: panel.x + panel.w + 8 + (LANE - 14) * (1 - panel.shown.indexOf(unit) / Math.max(panel.shown.length, 1)), edge: panel.y + panel.h + 4 };
  if (panel.labelled && panel.columns === 1 && panel.w > 60) return { lane: panel.x - 4 - (LANE - 8) * ((unit + Math.min(1, share)) / Math.max(panel.count, 1)), edge: panel.y - 4 };
  return null;
}

/**
 * Return the middle of a neuron (of an input) in the picture.
 * @param {Panel} panel
 * @param {number} unit a neuron of the layer; of the input the index of the input
 * @returns {[number, number] | null} null where it is not drawn
 */
export function positionOf(panel, unit) {
  if (panel.form === "picture") {
    const channels = panel.count / (panel.columns * (panel.rows ?? 1));
    const pixel = Math.floor(unit / channels);
    return [panel.x + ((pixel % panel.columns) + 0.5) * panel.cell, panel.y + (Math.floor(pixel / panel.columns) + 0.5) * panel.cell];
  }
  if (panel.form === "rows") {
    const at = panel.shown.indexOf(unit);
    return at < 0 ? null : [panel.x + panel.w, panel.y + (at + 0.5) * panel.cell];
  }
  const at = Math.floor(unit / panel.group);
  if (at >= panel.shown.length) return null;
  if (panel.labelled && panel.columns === 1 && panel.w > 60) return [panel.x + panel.cell / 2, panel.y + (at + 0.5) * panel.cell];
  const rowHeight = panel.h / Math.ceil(panel.shown.length / panel.columns);
  return [panel.x + ((at % panel.columns) + 0.5) * panel.cell, panel.y + (Math.floor(at / panel.columns) + 0.5) * rowHeight];
}

/**
 * Return which neuron (input) of which panel is at a point; null where there is none.
 * @param {Layout} layout
 * @param {number} x
 * @param {number} y
 * @returns {{panel: Panel, unit: number} | null}
 */
export function unitAt(layout, x, y) {
  for (const panel of layout.panels) {
    const slack = panel.form === "dots" ? 4 : 0;
    if (x < panel.x - slack || y < panel.y - slack || x >= panel.x + panel.w + slack || y >= panel.y + panel.h + slack) continue;
    const row = Math.max(0, Math.floor((y - panel.y) / (panel.form === "maps" ? panel.h / Math.ceil(panel.shown.length / panel.columns) : panel.cell)));
    if (panel.form === "rows") return row < panel.shown.length ? { panel, unit: panel.shown[row] } : null;
    const labelled = panel.labelled && panel.columns === 1 && panel.w > 60;
    const column = labelled ? 0 : Math.min(panel.columns - 1, Math.max(0, Math.floor((x - panel.x) / panel.cell)));
    const at = row * panel.columns + column;
    if (panel.form === "picture") {
      const channels = panel.count / (panel.columns * (panel.rows ?? 1));
      return at * channels < panel.count ? { panel, unit: at * channels } : null;
    }
    return at < panel.shown.length ? { panel, unit: panel.shown[at] } : null;
  }
  return null;
}

/**
 * Return the places of the values of the largest size, largest first; NaN counts as largest.
 * @param {ArrayLike<number>} values
 * @param {number} count
 */
export function strongest(values, count) {
  const n = values.length;
  const every = Math.max(1, Math.floor(n / 8000));
  let least = 0;
  if (n > count) {
    // A little below where the limit must be, found on a sample, so that enough are left to be sorted.
    const sample = new Float64Array(Math.ceil(n / every));
    for (let i = 0, k = 0; i < n; i += every, k++) sample[k] = sizeOf(values[i]);
    sample.sort();
    least = sample[Math.max(0, Math.floor(sample.length * (1 - (1.5 * count) / n)) - 8)];
  }
  const found = [];
  for (let i = 0; i < n; i++) {
    const size = sizeOf(values[i]);
    if (size >= least && size > 0) found.push(i);
  }
  found.sort((p, q) => sizeOf(values[q]) - sizeOf(values[p]) || p - q);
  return found.slice(0, count);
}

/** NaN counts as larger than any number. @param {number} value */
function sizeOf(value) {
  return value !== value ? Infinity : value < 0 ? -value : value;
}
