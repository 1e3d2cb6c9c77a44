// A row of a table: from what a person reads to the network's inputs and back, as the encoder in Python has it.

import { rounded } from "./numbers.js";

/**
 * @typedef {{place: number, name: string, part: string | null, category: string | null, transform: string,
 *   scaled: boolean, mean: number, scale: number, minimum: number, maximum: number, fill: number}} Input
 * @typedef {{name: string, kind: string, time_of_day: string | null, inputs: Input[], origin?: string}} Column
 * @typedef {{missing: boolean, value: number | string | null}} Cell value: a number, a category (null: none that was
 *   seen in training), 1 or 0 of a yes/no column, an ISO date
 */

const DAY = 86400000;

/**
 * @param {Input} input
 * @param {number} value in the original unit
 */
function scaleInput(input, value) {
  return ((input.transform === "log" ? Math.log1p(value) : value) - input.mean) / input.scale;
}

/**
 * Return an input's value in its original unit.
 * @param {Input} input
 * @param {number} value
 */
export function unscaleInput(input, value) {
  const raw = value * input.scale + input.mean;
  return input.transform === "log" ? Math.expm1(raw) : raw;
}

/**
 * Return the numbers in a date, by part.
 * @param {string} iso 2024-03-08 or 2024-03-08T10:30
 * @param {string} origin the first date seen
 * @returns {Record<string, number>}
 */
export function dateParts(iso, origin) {
  const time = Date.parse(/T/.test(iso) ? `${iso.replace(/Z$/, "")}Z` : `${iso}T00:00:00Z`);
  const first = Date.parse(`${/T/.test(origin) ? origin : `${origin}T00:00:00`}Z`);
  const date = new Date(time);
  const newYear = Date.UTC(date.getUTCFullYear(), 0, 1);
  const midnight = Math.floor(time / DAY) * DAY;
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    "day of year": (midnight - newYear) / DAY + 1,
    "days since first": (time - first) / DAY,
    hour: (time - midnight) / 3600000,
  };
}

/**
 * Write the inputs of one column into `x`.
 * @param {Column} column
 * @param {Cell} cell
 * @param {Float32Array} x
 */
export function encodeCell(column, cell, x) {
  const parts = column.kind === "date" && !cell.missing ? dateParts(String(cell.value), column.origin ?? "1970-01-01") : {};
  let z = 0;
  for (const input of column.inputs) {
    let value;
    if (input.part === "missing") value = cell.missing ? 1 : 0;
    else if (input.category !== null) value = !cell.missing && cell.value === input.category ? 1 : 0;
    else if (column.kind === "date") {
      const raw = cell.missing ? input.fill : /** @type {Record<string, number>} */ (parts)[input.part ?? "days since first"];
      value = scaleInput(input, raw);
    } else if (input.scaled) value = z = scaleInput(input, cell.missing ? input.fill : Number(cell.value));
    else if (input.part === "sine") value = Math.sin(z);
    else if (input.part === "cosine") value = Math.cos(z);
    else if (input.part === "sine 2") value = Math.sin(2 * z);
    else if (input.part === "cosine 2") value = Math.cos(2 * z);
    else value = cell.missing ? input.fill : Number(cell.value);
    x[input.place] = value;
  }
}

/**
 * Return what a row has in a column.
 * @param {Column} column
 * @param {ArrayLike<number>} x
 * @returns {Cell}
 */
export function decodeCell(column, x) {
  if (column.inputs.some((input) => input.part === "missing" && x[input.place] === 1)) {
    return { missing: true, value: null };
  }
  if (column.kind === "category") {
    const chosen = column.inputs.find((input) => input.category !== null && x[input.place] === 1);
    return { missing: false, value: chosen ? chosen.category : null };
  }
  if (column.kind === "date") return { missing: false, value: decodeDate(column, x) };
  const first = column.inputs[0];
  const value = first.scaled ? unscaleInput(first, x[first.place]) : x[first.place];
  return { missing: false, value: rounded(value) };
}

/**
 * @param {Column} column
 * @param {ArrayLike<number>} x
 */
function decodeDate(column, x) {
  /** @type {Map<string | null, number>} */
  const parts = new Map(column.inputs.map((input) => [input.part, unscaleInput(input, x[input.place])]));
  const origin = column.origin ?? "1970-01-01";
  const days = parts.get("days since first");
  const dayOfYear = parts.get("day of year");
  const year = parts.get("year");
  let time = NaN;
  if (days !== undefined) {
    time = Date.parse(`${/T/.test(origin) ? origin : `${origin}T00:00:00`}Z`) + days * DAY;
  } else if (year !== undefined) {
    time = Date.UTC(Math.round(year), 0, 1) + (Math.round(dayOfYear ?? 1) - 1) * DAY;
  } else if (dayOfYear !== undefined) {
    time = Date.UTC(new Date(Date.parse(`${origin.slice(0, 10)}T00:00:00Z`)).getUTCFullYear(), 0, 1) + (Math.round(dayOfYear) - 1) * DAY;
  }
  if (Number.isNaN(time)) return origin.slice(0, 10);
  const minutes = Math.round(time / 60000) * 60000;
  const text = new Date(minutes).toISOString();
  return parts.has("hour") ? text.slice(0, 16) : new Date(Math.round(time / DAY) * DAY).toISOString().slice(0, 10);
}

/**
 * Return sentences on what a row has that training never had.
 * @param {Column[]} columns
 * @param {ArrayLike<number>} x
 * @param {(value: number) => string} words how a number is written
 */
export function unfamiliarCells(columns, x, words) {
  const said = [];
  for (const column of columns) {
    const cell = decodeCell(column, x);
    if (cell.missing) continue;
    if (column.kind === "category" && cell.value === null) said.push([column.name, "none of its categories is set"]);
    const first = column.inputs[0];
    if (column.kind !== "numeric" || !first.scaled) continue;
    const value = unscaleInput(first, x[first.place]);
    const slack = 1e-5 * Math.max(Math.abs(first.minimum), Math.abs(first.maximum), 1);
    if (value < first.minimum - slack || value > first.maximum + slack) {
      said.push([column.name, `${words(rounded(value))} is beyond anything seen: ${words(first.minimum)} to ${words(first.maximum)}`]);
    }
  }
  return said;
}
