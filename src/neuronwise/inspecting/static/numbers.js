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
  const end = `… (${all.length.toLocaleString("en-US")} characters)`;
  // Cut only where that makes it shorter, and never within a character.
  const cut = all.length > most + end.length ? all.slice(0, most).replace(/[\ud800-\udbff]$/, "") + end : all;
  const shown = cut.replace(UNSEEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  return shown.trim() === "" ? `“${shown}”` : shown;
}

/** @type {Map<number, Intl.NumberFormat>} */
const FORMATS = new Map();

/**
 * Return what writes numbers with at most so many places; to make one takes long.
 * @param {number} places
 * @param {"all" | "steady" | "plain"} [kind] `steady`: with exactly so many places; `plain`: commas from 10,000 on only
 */
function withPlaces(places, kind = "all") {
  const key = places + 100 * ["all", "steady", "plain"].indexOf(kind);
  let format = FORMATS.get(key);
  if (!format) {
    const options = { maximumFractionDigits: places, minimumFractionDigits: kind === "steady" ? places : 0, ...(kind === "plain" ? { useGrouping: "min2" } : {}) };
    FORMATS.set(key, format = new Intl.NumberFormat("en-US", /** @type {any} */ (options)));
  }
  return format;
}

/**
 * Return a number with so many digits that count: 0.0123, 2,570, −1.3e−8, NaN, ∞.
 * @param {number} value
 * @param {number} [digits]
 * @param {"all" | "steady" | "plain"} [kind]
 */
export function figure(value, digits = 3, kind = "all") {
  if (Number.isNaN(value)) return "NaN";
  if (value === Infinity) return "∞";
  if (value === -Infinity) return "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size < 1e-4 || size >= 1e9) {
    const [mantissa, exponent] = size.toExponential(digits - 1).split("e");
    text = `${mantissa.includes(".") && kind !== "steady" ? mantissa.replace(/\.?0+$/, "") : mantissa}e${exponent.replace("+", "").replace("-", "−")}`;
  } else {
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    text = withPlaces(Math.min(places, 20), Number.isInteger(value) && kind === "steady" ? "all" : kind).format(Number(size.toFixed(Math.min(places, 20))));
  }
  return value < 0 ? `−${text}` : text;
}

/**
 * Return a number with its sign, also where it is positive.
 * @param {number} value
 * @param {number} [digits]
 * @param {"all" | "steady" | "plain"} [kind]
 */
export function signed(value, digits = 3, kind = "all") {
  return value > 0 ? `+${figure(value, digits, kind)}` : figure(value, digits, kind);
}

/**
 * Return a number for a column of numbers: 1.10 beneath 1.23; whole numbers as they are.
 * @param {number} value
 */
export function steady(value) {
  return figure(value, 3, "steady");
}

/**
 * Return a number with its sign for a column of numbers.
 * @param {number} value
 */
export function steadySigned(value) {
  return signed(value, 3, "steady");
}

/**
 * Return a value of the data as a person knows it: 2017 is a year, 62,658 an income.
 * @param {number} value
 * @param {number} [digits]
 */
export function datum(value, digits = 4) {
  return figure(value, digits, "plain");
}

/**
 * Return a number for an axis, where there is little room: 200k, −5e−7.
 * @param {number} value
 * @param {number} [digits]
 */
export function axis(value, digits = 3) {
  const text = figure(value, digits);
  if (text.length <= 6 || !Number.isFinite(value)) return text;
  const size = Math.abs(value);
  if (size >= 1e6 && size < 1e9) return `${figure(value / 1e6, digits)}M`;
  if (size >= 1e4 && size < 1e9) return `${figure(value / 1e3, digits)}k`;
  if (size >= 1 || size < 1e-4 || text.length <= 7) return text;
  const [mantissa, exponent] = size.toExponential(digits - 1).split("e");
  const short = `${value < 0 ? "−" : ""}${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${exponent.replace("-", "−")}`;
  return short.length < text.length ? short : text;
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

/**
 * Return a share as a percentage for a column of them: 4.70 % beneath 8.46 %.
 * @param {number} share from 0 to 1
 */
export function steadyPercent(share) {
  const words = percent(share);
  const value = Math.round(10000 * share) / 100;
  return !/^\d/.test(words) || value === 0 || value === 100 ? words : `${withPlaces(value >= 10 && value <= 99 ? 1 : 2, "steady").format(value)} %`;
}

/**
 * Return what a measure of how well it goes is called: "mean absolute error", "R²".
 * @param {string} name
 */
export function measureName(name) {
  return name === "r2" ? "R²" : visible(name.replaceAll("_", " "), 40);
}
