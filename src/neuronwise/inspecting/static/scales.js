// Colours of signed values: orange for negative, grey at zero, blue for positive; NaN and infinities have their own.

/** @typedef {[number, number, number]} Colour */
/** @typedef {{negative: Colour, zero: Colour, positive: Colour, odd: Colour, glow: Colour}} Palette */

/** @type {{light: Palette, dark: Palette}} */
export const PALETTES = {
  light: { negative: [201, 96, 8], zero: [236, 238, 241], positive: [24, 96, 172], odd: [0, 0, 0], glow: [24, 96, 172] },
  dark: { negative: [255, 158, 66], zero: [44, 49, 57], positive: [96, 178, 255], odd: [255, 255, 255], glow: [140, 200, 255] },
};

/**
 * Return the largest finite size among values; 0 if there is none.
 * @param {ArrayLike<number>} values
 */
export function largestSize(values) {
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]);
    if (size > largest && size < Infinity) largest = size;
  }
  return largest;
}

/**
 * Return the colour of a value on a scale from −limit over 0 to limit. NaN and infinities have the colour `odd`.
 * @param {number} value
 * @param {number} limit
 * @param {Palette} palette
 * @returns {Colour}
 */
export function signedColour(value, limit, palette) {
  if (!Number.isFinite(value)) return palette.odd;
  const t = limit > 0 ? Math.min(Math.abs(value) / limit, 1) : 0;
  // The root makes small values seen; it is the same on both sides, so equal sizes look equal.
  return mix(palette.zero, value < 0 ? palette.negative : palette.positive, Math.sqrt(t));
}

/**
 * Return the colour between two.
 * @param {Colour} from
 * @param {Colour} to
 * @param {number} t from 0 to 1
 * @returns {Colour}
 */
export function mix(from, to, t) {
  const at = (/** @type {number} */ i) => Math.round(from[i] + (to[i] - from[i]) * t);
  return [at(0), at(1), at(2)];
}

/**
 * @param {Colour} colour
 * @param {number} [alpha]
 */
export function css(colour, alpha = 1) {
  return alpha === 1 ? `rgb(${colour[0]},${colour[1]},${colour[2]})` : `rgba(${colour[0]},${colour[1]},${colour[2]},${alpha})`;
}

/**
 * Return the sign of a value as a glyph: + − 0, and × where it is not finite.
 * @param {number} value
 */
export function glyph(value) {
  if (!Number.isFinite(value)) return "×";
  return value > 0 ? "+" : value < 0 ? "−" : "0";
}

/**
 * Return round values from at most `low` to at least `high`, about `count` of them, for an axis.
 * @param {number} low
 * @param {number} high
 * @param {number} [count]
 */
export function ticks(low, high, count = 4) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw) ?? 10 * power;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step || 0);
  return found;
}
