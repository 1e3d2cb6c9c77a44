// What was computed once is kept, the last used, up to so many numbers.

export class Memory {
  /** @param {number} most numbers that are kept */
  constructor(most) {
    this.most = most;
    this.size = 0;
    /** @type {Map<string, {value: any, size: number}>} */
    this.entries = new Map();
  }

  /**
   * Return what is kept under a key, or make it.
   * @template T
   * @param {string} key
   * @param {() => T} make
   * @param {number} [size] about how many numbers it holds
   * @returns {T}
   */
  get(key, make, size = 100) {
    const known = this.entries.get(key);
    if (known) {
      this.entries.delete(key); // the last used stands last
      this.entries.set(key, known);
      return known.value;
    }
    const value = make();
    this.entries.set(key, { value, size });
    this.size += size;
    for (const [oldest] of this.entries) {
      if (this.size <= this.most || oldest === key) break;
      this.forget(oldest);
    }
    return value;
  }

  /** @param {string} key */
  forget(key) {
    const known = this.entries.get(key);
    if (!known) return;
    this.size -= known.size;
    this.entries.delete(key);
  }

  /** Forget all of which the key fits. @param {(key: string) => boolean} [fits] default all */
  forgetAll(fits = () => true) {
    for (const key of [...this.entries.keys()]) if (fits(key)) this.forget(key);
  }
}
