// Whether two neurons say the same.

/**
 * Return Pearson's correlation; NaN where one does not vary.
 * @param {number[]} p
 * @param {number[]} q
 */
export function correlation(p, q) {
  const n = p.length;
  const mean = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0) / n;
  const [mp, mq] = [mean(p), mean(q)];
  let [pp, qq, pq] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    pp += (p[i] - mp) ** 2;
    qq += (q[i] - mq) ** 2;
    pq += (p[i] - mp) * (q[i] - mq);
  }
  return pp > 1e-18 && qq > 1e-18 ? pq / Math.sqrt(pp * qq) : NaN;
}
