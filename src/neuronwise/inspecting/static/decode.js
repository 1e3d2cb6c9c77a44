// Arrays out of the page's data: base64 of little-endian numbers.

/** @typedef {{dtype: string, shape: number[], data: string}} Packed */

/** What a number of each type takes, in bytes. */
const BYTES = new Map([["float16", 2], ["float32", 4], ["float64", 8], ["uint8", 1], ["int32", 4]]);

/**
 * Return the numbers of a packed array as a typed array, row by row.
 * @param {Packed} packed
 * @returns {Float32Array | Float64Array | Uint8Array | Int32Array}
 */
export function unpack(packed) {
  const size = BYTES.get(packed.dtype);
  if (size === undefined) throw new Error(`numbers of type ${packed.dtype} cannot be read`);
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const count = packed.shape.reduce((product, n) => product * n, 1);
  if (bytes.length !== count * size) {
    throw new Error(`an array of ${count} numbers should have ${count * size} bytes, it has ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer);
  if (packed.dtype === "uint8") return bytes;
  if (packed.dtype === "float64") return fill(new Float64Array(count), (i) => view.getFloat64(8 * i, true));
  if (packed.dtype === "int32") return fill(new Int32Array(count), (i) => view.getInt32(4 * i, true));
  if (packed.dtype === "float32") return fill(new Float32Array(count), (i) => view.getFloat32(4 * i, true));
  return fill(new Float32Array(count), (i) => fromHalf(view.getUint16(2 * i, true)));
}

/**
 * @template {Float32Array | Float64Array | Int32Array} T
 * @param {T} array
 * @param {(i: number) => number} read
 * @returns {T}
 */
function fill(array, read) {
  for (let i = 0; i < array.length; i++) array[i] = read(i);
  return array;
}

/**
 * Return the number that 16 bits stand for (IEEE 754 binary16).
 * @param {number} bits
 */
export function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
