// What is looked at: one object that every view follows, and its form in the address of a page.

/**
 * @typedef {{step: number, example: number, layer: number, neuron: number, row: number, column: number,
 *   view: string, links: string, show: string, focus: string}} Selection `show`: a statistic of neurons; layer −1 is the input; row and column are −1 where the
 *   brightest place is meant; example −1 is what the user made
 */

/** @type {[keyof Selection, "number" | "text"][]} */
const IN_ADDRESS = [
  ["step", "number"], ["example", "number"], ["layer", "number"], ["neuron", "number"], ["row", "number"],
  ["column", "number"], ["view", "text"], ["links", "text"], ["show", "text"],
];

export class Store {
  /** @param {Selection} first */
  constructor(first) {
    this.now = first;
    /** @type {Set<(now: Selection, before: Selection) => void>} */
    this.listeners = new Set();
  }

  /**
   * Change something; all who listen are told once.
   * @param {Partial<Selection>} patch
   */
  set(patch) {
    const before = this.now;
    const now = { ...before, ...patch };
    if (Object.keys(now).every((key) => Object.is(now[/** @type {keyof Selection} */ (key)], before[/** @type {keyof Selection} */ (key)]))) return;
    this.now = now;
    for (const listener of [...this.listeners]) listener(now, before);
  }

  /**
   * @param {(now: Selection, before: Selection) => void} listener
   * @param {AbortSignal} signal ends the listening
   */
  listen(listener, signal) {
    if (signal.aborted) return;
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener), { once: true });
  }
}

/**
 * Return a selection as the part of an address after #.
 * @param {Selection} selection
 */
export function toAddress(selection) {
  return IN_ADDRESS.map(([key]) => `${key}=${encodeURIComponent(String(selection[key]))}`).join("&");
}

/**
 * Return what an address says of a selection; what it does not say, or says wrongly, is left out.
 * @param {string} text with or without #
 * @returns {Partial<Selection>}
 */
export function fromAddress(text) {
  /** @type {Partial<Selection>} */
  const found = {};
  const words = new Map(
    text.replace(/^#/, "").split("&").map((pair) => {
      const [key, ...value] = pair.split("=");
      return [key, value.join("=")];
    }),
  );
  for (const [key, kind] of IN_ADDRESS) {
    const word = words.get(key);
    if (word === undefined) continue;
    if (kind === "number") {
      if (/^-?\d{1,9}$/.test(word)) /** @type {any} */ (found)[key] = Number(word);
    } else if (/^[a-z_]{1,24}$/.test(word)) /** @type {any} */ (found)[key] = word;
  }
  return found;
}
