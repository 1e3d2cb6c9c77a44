// Many values as cells of one picture: of wide layers, and of the modules of a large model.

import { scratch } from "./pictures.js";
import { css } from "./scales.js";

/** So many steps from 0 to the limit have a colour of their own. */
const STEPS = 256;
/** @type {Map<any, Uint8ClampedArray>} */
const TABLES = new Map();

/**
 * Return the colours of a palette as a table: 0 to 255 are those of −limit to 0, 256 to 511 of 0 to limit.
 * @param {import("./scales.js").Palette} palette
 */
function tableOf(palette) {
  let table = TABLES.get(palette);
  if (!table) {
    table = new Uint8ClampedArray(2 * STEPS * 3);
    for (let k = 0; k < STEPS; k++) {
      const t = Math.sqrt(k / (STEPS - 1)); // as in signedColour: the root makes small values seen
      for (let c = 0; c < 3; c++) {
        table[3 * (STEPS + k) + c] = Math.round(palette.zero[c] + (palette.positive[c] - palette.zero[c]) * t);
        table[3 * (STEPS - 1 - k) + c] = Math.round(palette.zero[c] + (palette.negative[c] - palette.zero[c]) * t);
      }
    }
    TABLES.set(palette, table);
  }
  return table;
}

/**
 * Return the value of the largest size among some; NaN counts as largest.
 * @param {ArrayLike<number>} values
 * @param {number} from
 * @param {number} to one after the last
 */
export function largestOf(values, from, to) {
  let best = values[from];
  for (let k = from + 1; k < to && best === best; k++) {
    const value = values[k];
    if (value !== value || Math.abs(value) > Math.abs(best)) best = value;
  }
  return best;
}

/**
 * Paint values as square cells, row by row, by the same colours as `paint`; what is not finite has a mark.
 * @param {CanvasRenderingContext2D} context
 * @param {Float32Array} values
 * @param {{rows: number, columns: number, count: number}} grid of which the first `count` cells are there
 * @param {{x: number, y: number, cell: number, limit: number, gap: number, ground: import("./scales.js").Colour,
 *   palette: import("./scales.js").Palette, dark: boolean}} how `ground`: the colour between the cells
 */
export function paintCells(context, values, grid, how) {
  const { rows, columns, count } = grid;
  const { cell, gap, limit, palette } = how;
  const image = new ImageData(columns, rows);
  const pixels = image.data;
  const table = tableOf(palette);
  const factor = limit > 0 ? (STEPS - 1) / limit : 0;
  /** @type {number[]} */
  const odd = [];
  for (let at = 0; at < count; at++) {
    const value = values[at];
    const size = Math.abs(value);
    if (!(size < Infinity)) {
      odd.push(at);
      for (let c = 0; c < 3; c++) pixels[4 * at + c] = palette.odd[c];
    } else {
      const k = Math.min(STEPS - 1, Math.round(size * factor));
      const place = 3 * (value < 0 ? STEPS - 1 - k : STEPS + k);
      pixels[4 * at] = table[place];
      pixels[4 * at + 1] = table[place + 1];
      pixels[4 * at + 2] = table[place + 2];
    }
    pixels[4 * at + 3] = 255;
  }
  const inner = scratch(columns, rows);
  inner.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(inner.canvas, how.x, how.y, columns * cell, rows * cell);
  if (gap) {
    // Painted over, not cleared: on paper, clearing takes away all that was drawn before.
    context.fillStyle = css(how.ground);
    for (let c = 1; c <= columns; c++) context.fillRect(how.x + c * cell - gap, how.y, gap, rows * cell);
    for (let r = 1; r <= rows; r++) context.fillRect(how.x, how.y + r * cell - gap, columns * cell, gap);
  }
  if (cell >= 6 && count <= 4000) {
    // A dash on negative ones, as in `paint`: the sign is seen without colour.
    context.fillStyle = css(how.dark ? [16, 18, 22] : [255, 255, 255], 0.75);
    for (let at = 0; at < count; at++) {
      if (values[at] < -0.02 * limit) context.fillRect(how.x + ((at % columns) + 0.28) * cell, how.y + (Math.floor(at / columns) + 0.42) * cell, cell * 0.44, Math.max(1, cell * 0.1));
    }
  }
  context.strokeStyle = css(how.dark ? [0, 0, 0] : [255, 255, 255]);
  context.lineWidth = 1;
  context.beginPath();
  for (const at of odd.slice(0, 2000)) {
    const [x, y] = [how.x + (at % columns) * cell, how.y + Math.floor(at / columns) * cell];
    const end = cell - gap;
    context.moveTo(x, y);
    context.lineTo(x + end, y + end);
    if (Number.isNaN(values[at])) {
      context.moveTo(x + end, y);
      context.lineTo(x, y + end);
    }
  }
  context.stroke();
}
