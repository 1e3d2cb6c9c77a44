// Numbers and names as a person reads them.

/** Characters that are seen as nothing, or turn the direction of what follows. */
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\ufff9-\ufffb]/g;

/**
 * Return a text that shows what is in it: unseen characters by their number, long texts cut, with their length.
 * @param {unknown} text
 * @param {number} [most]
 */
export function visible(text, most = 60) {
  const all = String(text);
  const cut = all.length > most ? `${all.slice(0, most)}… (${all.length.toLocaleString("en-US")} characters)` : all;
  const shown = cut.replace(UNSEEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  return shown.trim() === "" ? `“${shown}”` : shown;
}

/** @type {Map<number, Intl.NumberFormat>} */
const FORMATS = new Map();

/** Return what writes numbers with at most so many places; to make one takes long. @param {number} places */
function withPlaces(places) {
  let format = FORMATS.get(places);
  if (!format) FORMATS.set(places, format = new Intl.NumberFormat("en-US", { maximumFractionDigits: places }));
  return format;
}

/**
 * Return a number with so many digits that count: 0.0123, 2,570, −1.3e−8, NaN, ∞.
 * @param {number} value
 * @param {number} [digits]
 */
export function figure(value, digits = 3) {
  if (Number.isNaN(value)) return "NaN";
  if (value === Infinity) return "∞";
  if (value === -Infinity) return "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size < 1e-4 || size >= 1e9) {
    const [mantissa, exponent] = size.toExponential(digits - 1).split("e");
    text = `${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${exponent.replace("+", "").replace("-", "−")}`;
  } else {
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    text = withPlaces(Math.min(places, 20)).format(Number(size.toFixed(Math.min(places, 20))));
  }
  return value < 0 ? `−${text}` : text;
}

/**
 * Return a number with its sign, also where it is positive.
 * @param {number} value
 * @param {number} [digits]
 */
export function signed(value, digits = 3) {
  return value > 0 ? `+${figure(value, digits)}` : figure(value, digits);
}

/**
 * Return a whole number with commas.
 * @param {number} value
 */
export function whole(value) {
  return withPlaces(0).format(Math.round(value));
}

/**
 * Return a number rounded to as many digits as float32 holds: 2,570.0001 is 2,570.
 * @param {number} value
 */
export function rounded(value) {
  return Number.isFinite(value) && value !== 0 ? Number(value.toPrecision(6)) : value;
}

/**
 * Return the name of a thing and its count: "1 neuron", "12 neurons".
 * @param {number} count
 * @param {string} word
 * @param {string} [many] of several, where an s will not do
 */
export function counted(count, word, many) {
  return `${whole(count)} ${count === 1 ? word : many ?? `${word}s`}`;
}

/**
 * Return a share as a percentage that is never more exact than a person needs.
 * @param {number} share from 0 to 1
 */
export function percent(share) {
  if (!Number.isFinite(share)) return figure(share);
  if (share > 0 && share < 0.0001) return "< 0.01 %";
  if (share < 1 && share > 0.9999) return "> 99.99 %";
  return `${figure(Math.round(10000 * share) / 100, share > 0.99 ? 4 : 3)} %`;
}
