// Numbers as pixels, on a canvas.

import { h } from "./dom.js";
import { figure } from "./numbers.js";
import { css, largestSize, mix, signedColour } from "./scales.js";

/**
 * @typedef {{rows: number, columns: number, channels?: number, at?: (row: number, column: number, channel: number) => number}} Grid
 *   `at` gives the index of a value; default row by row, channels last
 */

/** @type {CanvasRenderingContext2D | null} */
let drawnOn = null;

/**
 * Return the one canvas of so many pixels on which values are painted before they are drawn larger elsewhere.
 * @param {number} columns
 * @param {number} rows
 */
export function scratch(columns, rows) {
  drawnOn ??= /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  drawnOn.canvas.width = columns;
  drawnOn.canvas.height = rows;
  return drawnOn;
}

/**
 * Paint values into a canvas' context.
 * @param {CanvasRenderingContext2D} context
 * @param {ArrayLike<number>} values
 * @param {Grid} grid
 * @param {{x: number, y: number, w: number, h: number, limit: number, low?: number, mode: "signed" | "ink", palette: import("./scales.js").Palette,
 *   dark: boolean}} how `ink`: `low` (0) is the ground, `limit` is full; `signed`: see scales
 */
export function paint(context, values, grid, how) {
  const { rows, columns, channels = 1 } = grid;
  const { low = 0 } = how;
  const at = grid.at ?? ((r, c, k) => (r * columns + c) * channels + k);
  const inner = scratch(columns, rows);
  const image = inner.createImageData(columns, rows);
  /** @type {[number, number, boolean][]} */
  const odd = [];
  /** @type {import("./scales.js").Colour} */
  const ground = how.dark ? [12, 14, 18] : [255, 255, 255];
  /** @type {import("./scales.js").Colour} */
  const ink = how.dark ? [245, 247, 250] : [22, 26, 32];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const place = 4 * (r * columns + c);
      let colour;
      if (how.mode === "ink" && channels === 3) {
        colour = [0, 1, 2].map((k) => 255 * clamp((values[at(r, c, k)] - low) / (how.limit - low)));
      } else {
        const value = values[at(r, c, 0)];
        if (!Number.isFinite(value)) odd.push([r, c, Number.isNaN(value)]);
        colour = how.mode === "ink" ? mix(ground, ink, clamp((value - low) / (how.limit - low || 1))) : signedColour(value, how.limit, how.palette);
      }
      image.data[place] = colour[0];
      image.data[place + 1] = colour[1];
      image.data[place + 2] = colour[2];
      image.data[place + 3] = 255;
    }
  }
  inner.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(inner.canvas, how.x, how.y, how.w, how.h);
  if (how.mode === "signed") dashNegatives(context, values, grid, how);
  // What is not finite has a mark, not a colour of the scale: a cross for NaN, a bar for infinity.
  context.strokeStyle = css(how.dark ? [0, 0, 0] : [255, 255, 255]);
  const [cw, ch] = [how.w / columns, how.h / rows];
  for (const [r, c, isNaN_] of odd.slice(0, 4000)) {
    const [x, y] = [how.x + c * cw, how.y + r * ch];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + cw, y + ch);
    if (isNaN_) {
      context.moveTo(x + cw, y);
      context.lineTo(x, y + ch);
    }
    context.stroke();
  }
}

/**
 * Put a dash on each negative cell that is large enough for one, so that the sign is seen without colour.
 * @param {CanvasRenderingContext2D} context
 * @param {ArrayLike<number>} values
 * @param {Grid} grid
 * @param {{x: number, y: number, w: number, h: number, limit: number, palette: import("./scales.js").Palette, dark: boolean}} how
 */
function dashNegatives(context, values, grid, how) {
  const { rows, columns, channels = 1 } = grid;
  const at = grid.at ?? ((r, c, k) => (r * columns + c) * channels + k);
  const [cw, ch] = [how.w / columns, how.h / rows];
  if (Math.min(cw, ch) < 5 || rows * columns > 4000) return;
  const isFine = Math.min(cw, ch) < 10; // there a quiet dash is enough, and leaves the picture to be seen
  context.fillStyle = css(how.dark ? [16, 18, 22] : [255, 255, 255], isFine ? 0.45 : 0.75);
  const [wide, thick] = [cw * 0.44, Math.max(1, Math.min(2, ch * 0.1))];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      // What is nearly zero is nearly the ground's colour, where a dash would say more than the value.
      if (values[at(r, c, 0)] < (isFine ? -0.08 : -0.02) * how.limit) context.fillRect(how.x + (c + 0.5) * cw - wide / 2, how.y + (r + 0.5) * ch - thick / 2, wide, thick);
    }
  }
}

/** @param {number} value */
function clamp(value) {
  return value > 0 ? Math.min(value, 1) : 0;
}

/**
 * Return a picture of values with its words.
 * @param {ArrayLike<number>} values
 * @param {Grid} grid
 * @param {{side: number, mode: "signed" | "ink", theme: {palette: import("./scales.js").Palette, dark: boolean}, limit?: number,
 *   title: string, caption?: string}} how
 */
export function picture(values, grid, how) {
  const scale = how.side / Math.max(grid.rows, grid.columns);
  const [w, height] = [Math.max(1, Math.round(grid.columns * scale)), Math.max(1, Math.round(grid.rows * scale))];
  const canvas = sharpCanvas(w, height);
  const limit = how.limit ?? largestSize(values);
  canvas.element.setAttribute("role", "img");
  canvas.element.setAttribute("aria-label", how.title);
  paint(canvas.context, values, grid, { x: 0, y: 0, w, h: height, limit, mode: how.mode, ...how.theme });
  return h("figure", { class: "nw-picture" }, canvas.element, h("figcaption", {}, how.caption ?? how.title));
}

/**
 * Return a canvas of so many CSS pixels that is sharp on any screen.
 * @param {number} width
 * @param {number} height
 */
export function sharpCanvas(width, height) {
  const element = /** @type {HTMLCanvasElement} */ (document.createElement("canvas"));
  return { element, context: sharpen(element, width, height) };
}

/**
 * @param {HTMLCanvasElement} element
 * @param {number} width
 * @param {number} height
 */
export function sharpen(element, width, height) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const [w, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (element.width !== w || element.height !== tall) {
    element.width = w;
    element.height = tall;
    element.style.width = `${width}px`;
    element.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (element.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/**
 * Return the scale of signed values with its numbers.
 * @param {number} limit
 * @param {{palette: import("./scales.js").Palette, dark: boolean}} theme
 * @param {string} words
 */
export function legend(limit, theme, words) {
  const canvas = sharpCanvas(120, 10);
  for (let x = 0; x < 120; x++) {
    canvas.context.fillStyle = css(signedColour(((x - 59.5) / 60) * limit, limit, theme.palette));
    canvas.context.fillRect(x, 0, 1, 10);
  }
  canvas.context.fillStyle = css(theme.dark ? [16, 18, 22] : [255, 255, 255], 0.75);
  for (let x = 5; x < 54; x += 9) canvas.context.fillRect(x, 4.25, 4, 1.5);
  canvas.element.setAttribute("aria-hidden", "true");
  return h("span", { class: "nw-legend" }, `${words} `, h("b", {}, `−${figure(limit)}`), canvas.element, h("b", {}, `+${figure(limit)}`));
}
