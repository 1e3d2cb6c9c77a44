// The activation functions, as the engine in Python has them, and their slopes.

/**
 * Return f(z) for a whole layer.
 * @param {string} name
 * @param {Float32Array} z
 */
export function activate(name, z) {
  const a = new Float32Array(z.length);
  if (name === "softmax") {
    let largest = -Infinity;
    for (const value of z) if (!(value <= largest)) largest = value;
    let sum = 0;
    for (let i = 0; i < z.length; i++) sum += a[i] = Math.exp(z[i] - largest);
    for (let i = 0; i < z.length; i++) a[i] /= sum;
    return a;
  }
  for (let i = 0; i < z.length; i++) a[i] = activation(name, z[i]);
  return a;
}

/**
 * Return f(z) of one number; softmax, which needs the whole layer, is not among them.
 * @param {string} name
 * @param {number} z
 */
export function activation(name, z) {
  switch (name) {
    case "identity": return z;
    case "sigmoid": return 1 / (1 + Math.exp(-z));
    case "tanh": return Math.tanh(z);
    case "relu": return z > 0 || Number.isNaN(z) ? z : 0;
    case "leaky_relu": return z > 0 || Number.isNaN(z) ? z : 0.01 * z;
    case "elu": return z > 0 || Number.isNaN(z) ? z : Math.expm1(z);
    case "gelu": return z * normalDistribution(z);
    case "softplus": return z > 0 ? z + Math.log1p(Math.exp(-z)) : Math.log1p(Math.exp(z));
    default: throw new Error(`the activation ${name} is not known here`);
  }
}

/**
 * Return f'(z) of one number.
 * @param {string} name
 * @param {number} z
 */
export function slope(name, z) {
  switch (name) {
    case "identity": return 1;
    case "sigmoid": { const a = activation(name, z); return a * (1 - a); }
    case "tanh": { const a = Math.tanh(z); return 1 - a * a; }
    case "relu": return z > 0 ? 1 : 0;
    case "leaky_relu": return z > 0 ? 1 : 0.01;
    case "elu": return z > 0 ? 1 : Math.exp(z);
    case "gelu": return normalDistribution(z) + (z * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
    case "softplus": return activation("sigmoid", z);
    default: throw new Error(`the activation ${name} is not known here`);
  }
}

/**
 * Φ(z), the normal distribution function. Below, the continued fraction of erfc (Abramowitz and Stegun 1964, 7.1.14);
 * near zero, its power series (7.1.6).
 * @param {number} z
 */
export function normalDistribution(z) {
  if (Number.isNaN(z)) return NaN;
  const u = Math.abs(z) / Math.SQRT2;
  let tail;
  if (u < 2.5) {
    let term = u;
    let sum = u;
    for (let n = 1; n < 60 && term > 1e-17 * sum; n++) sum += term *= (2 * u * u) / (2 * n + 1);
    tail = 0.5 - (Math.exp(-u * u) / Math.sqrt(Math.PI)) * sum;
  } else {
    let fraction = u;
    for (let k = 60; k > 0; k--) fraction = u + k / 2 / fraction;
    tail = Math.exp(-u * u) / (2 * Math.sqrt(Math.PI) * fraction);
  }
  return z > 0 ? 1 - tail : tail;
}
