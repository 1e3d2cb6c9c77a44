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
  const bytes = bytesOf(packed.data);
  const count = packed.shape.reduce((product, n) => product * n, 1);
  if (bytes.length !== count * size) {
    throw new Error(`an array of ${count} numbers should have ${count * size} bytes, it has ${bytes.length}`);
  }
  if (!IS_LITTLE) swap(bytes, size);
  const { buffer } = bytes;
  if (packed.dtype === "uint8") return bytes;
  if (packed.dtype === "float64") return new Float64Array(buffer);
  if (packed.dtype === "int32") return new Int32Array(buffer);
  if (packed.dtype === "float32") return new Float32Array(buffer);
  const found = new Float32Array(count);
  const halves = new Uint16Array(buffer);
  const table = halfTable();
  for (let i = 0; i < count; i++) found[i] = table[halves[i]];
  return found;
}

/** Whether this machine writes the smaller byte first, as the page's data does. */
const IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** @param {string} text */
function bytesOf(text) {
  const decode = /** @type {any} */ (Uint8Array).fromBase64;
  if (decode) return /** @type {Uint8Array<ArrayBuffer>} */ (decode.call(Uint8Array, text));
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** @param {Uint8Array} bytes @param {number} size */
export function swap(bytes, size) {
  for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
}

/** @type {Float32Array | undefined} */
let halves16;

/** Return what each pattern of 16 bits stands for. */
function halfTable() {
  return (halves16 ??= Float32Array.from({ length: 65536 }, (_, bits) => fromHalf(bits)));
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
