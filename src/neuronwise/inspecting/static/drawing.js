// A drawing becomes a picture like those that were learned from: as large, as thick, with its centre at their centre.

/**
 * @typedef {{box: number, row: number, column: number, stroke: number, level: number}} Drawn how the training's
 *   pictures are drawn, in pixels
 * @typedef {[number, number][]} Stroke points (x, y)
 */

/**
 * Return the pixels of strokes as they are, (rows × columns), 0 to 1; points are in pixels.
 * @param {Stroke[]} strokes
 * @param {number} rows
 * @param {number} columns
 * @param {number} width of a stroke, in pixels
 */
export function rasterise(strokes, rows, columns, width) {
  const pixels = new Float32Array(rows * columns);
  const fine = 5;
  const lines = strokes.flatMap((stroke) => {
    const points = thin(stroke, 0.25);
    return points.length === 1 ? [[points[0], points[0]]] : points.slice(1).map((point, i) => [points[i], point]);
  });
  const reach = width / 2;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const near = lines.filter(([p, q]) => distance(c + 0.5, r + 0.5, p, q) < reach + 0.75);
      if (!near.length) continue;
      let inside = 0;
      for (let i = 0; i < fine; i++) {
        for (let j = 0; j < fine; j++) {
          const x = c + (j + 0.5) / fine;
          const y = r + (i + 0.5) / fine;
          if (near.some(([p, q]) => distance(x, y, p, q) <= reach)) inside++;
        }
      }
      pixels[r * columns + c] = inside / (fine * fine);
    }
  }
  return pixels;
}

/**
 * @param {Stroke} stroke
 * @param {number} least
 */
function thin(stroke, least) {
  const kept = stroke.slice(0, 1);
  for (const point of stroke.slice(1)) {
    const last = kept[kept.length - 1];
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= least) kept.push(point);
  }
  return kept;
}

/**
 * Return how far a point is from a line between two.
 * @param {number} x
 * @param {number} y
 * @param {[number, number]} p
 * @param {[number, number]} q
 */
function distance(x, y, p, q) {
  const dx = q[0] - p[0];
  const dy = q[1] - p[1];
  const length = dx * dx + dy * dy;
  const t = length > 0 ? Math.max(0, Math.min(1, ((x - p[0]) * dx + (y - p[1]) * dy) / length)) : 0;
  return Math.hypot(x - p[0] - t * dx, y - p[1] - t * dy);
}

/**
 * Return the pixels that the network is given for strokes: brought to the size, thickness and place that the training's
 * pictures have on average. Null where nothing is drawn.
 * @param {Stroke[]} strokes points from 0 to 1 in both directions
 * @param {number} rows
 * @param {number} columns
 * @param {Drawn | null} drawn null: taken as it is
 */
export function likeTraining(strokes, rows, columns, drawn) {
  const points = strokes.flat();
  if (!points.length) return null;
  const side = Math.max(rows, columns);
  if (!drawn) {
    return rasterise(strokes.map((s) => s.map(([x, y]) => [x * columns, y * rows])), rows, columns, side / 12);
  }
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  const left = Math.min(...xs);
  const top = Math.min(...ys);
  const extent = Math.max(Math.max(...xs) - left, Math.max(...ys) - top);
  const inner = Math.max(drawn.box - drawn.stroke, 1);
  // A dot has no size to be brought to.
  const factor = extent > 0.02 ? inner / extent : side;
  const place = (/** @type {number} */ dx, /** @type {number} */ dy) =>
    strokes.map((stroke) => stroke.map(([x, y]) => /** @type {[number, number]} */ ([(x - left) * factor + dx, (y - top) * factor + dy])));
  // Its centre of mass is found where it lies whole: in the middle of a field twice as large.
  const field = rasterise(place(side / 2, side / 2), 2 * side, 2 * side, drawn.stroke);
  let mass = 0;
  let row = 0;
  let column = 0;
  for (let r = 0; r < 2 * side; r++) {
    for (let c = 0; c < 2 * side; c++) {
      const value = field[r * 2 * side + c];
      mass += value;
      row += value * r;
      column += value * c;
    }
  }
  if (!mass) return null;
  const dx = drawn.column - (column / mass - side / 2);
  const dy = drawn.row - (row / mass - side / 2);
  const pixels = rasterise(place(dx, dy), rows, columns, drawn.stroke);
  return pixels.map((value) => value * drawn.level);
}

/**
 * Return which share of a picture's squared distance from the mean lies outside the main directions of the training's.
 * @param {ArrayLike<number>} x
 * @param {ArrayLike<number>} mean
 * @param {ArrayLike<number>} directions orthonormal, one after the other
 */
export function unexplained(x, mean, directions) {
  const n = mean.length;
  let wholeSize = 0;
  for (let i = 0; i < n; i++) wholeSize += (x[i] - mean[i]) ** 2;
  let inside = 0;
  for (let k = 0; k * n < directions.length; k++) {
    let along = 0;
    for (let i = 0; i < n; i++) along += (x[i] - mean[i]) * directions[k * n + i];
    inside += along * along;
  }
  return wholeSize > 0 ? Math.max(0, 1 - inside / wholeSize) : 0;
}
