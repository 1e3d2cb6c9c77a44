// Where the modules of a model stand when there is no forward pass to draw: one below the other, in blocks.

/**
 * @typedef {{index: number, name: string, short: string, block: string, y: number, h: number, strip: {x: number, y: number,
 *   cell: number, columns: number, rows: number, group: number, cells: number}}} ModuleRow `index`: of the module;
 *   a cell stands for a `group` of neurons
 * @typedef {{title: string, y: number, h: number}} Block
 * @typedef {{rows: ModuleRow[], blocks: Block[], width: number, height: number, gutter: number, label: number,
 *   narrow: boolean, end: number}} ModuleLayout `end`: where the numbers beside the cells begin
 */

const TITLE = 24;
const LEAST_CELL = 3;
const MOST_CELL = 14;
const MOST_STRIP_ROWS = 3;

/**
 * Return the block that a module belongs to: its path up to the last number in it, else up to its last dot.
 * @param {string} path
 */
export function blockOf(path) {
  const parts = path.split(".");
  for (let k = parts.length - 2; k >= 0; k--) if (/^\d+$/.test(parts[k])) return parts.slice(0, k + 1).join(".");
  return parts.slice(0, -1).join(".");
}

/**
 * @param {import("./forward.js").Net} net
 * @param {number} width
 * @returns {ModuleLayout}
 */
export function layOutModules(net, width) {
  const narrow = width < 560;
  const gutter = narrow ? 30 : 56;
  const label = narrow ? 0 : Math.min(250, Math.max(150, width * 0.27));
  const numbers = narrow ? 0 : 132; // at the right end the scale of each row
  const room = width - gutter - label - numbers - 12;
  /** @type {ModuleRow[]} */
  const rows = [];
  /** @type {Block[]} */
  const blocks = [];
  let y = 4;
  net.layers.forEach((layer, index) => {
    const block = blockOf(layer.name);
    const last = blocks[blocks.length - 1];
    if (!last || last.title !== block) {
      y += blocks.length ? 8 : 0;
      blocks.push({ title: block, y, h: 0 });
      y += block ? TITLE : 4;
    }
    const strip = stripOf(layer.neurons, room);
    const words = narrow ? 17 : 0;
    const h = Math.max(narrow ? 10 : 18, strip.rows * strip.cell) + words + 7;
    rows.push({ index, name: layer.name, short: block ? layer.name.slice(block.length + 1) : layer.name, block, y, h, strip: { ...strip, x: gutter + label, y: y + words + 3 } });
    y += h;
    blocks[blocks.length - 1].h = y - blocks[blocks.length - 1].y + 2;
  });
  const end = rows.reduce((most, row) => Math.max(most, row.strip.x + row.strip.columns * row.strip.cell), 0) + 10;
  return { rows, blocks, width, height: y + 8, gutter, label, narrow, end };
}

/** @param {number} neurons @param {number} room */
function stripOf(neurons, room) {
  const rows = neurons * MOST_CELL <= room ? 1 : neurons * 6 <= room * 2 ? 2 : MOST_STRIP_ROWS;
  const cell = Math.max(LEAST_CELL, Math.min(MOST_CELL, Math.floor((room * rows) / Math.max(neurons, 1))));
  const most = Math.max(1, Math.floor(room / cell) * rows);
  const group = Math.max(1, Math.ceil(neurons / most));
  const cells = Math.ceil(neurons / group);
  const columns = Math.max(1, Math.ceil(cells / rows));
  return { cell, columns, rows: Math.max(1, Math.ceil(cells / columns)), group, cells };
}

/**
 * Return where the middle of a neuron's cell is.
 * @param {ModuleRow} row
 * @param {number} neuron
 * @returns {[number, number]}
 */
export function cellOf(row, neuron) {
  const { x, y, cell, columns, group } = row.strip;
  const at = Math.floor(neuron / group);
  return [x + ((at % columns) + 0.5) * cell, y + (Math.floor(at / columns) + 0.5) * cell];
}

/**
 * Return the module, and the neuron if there is one, at a point; null where there is none.
 * @param {ModuleLayout} layout
 * @param {number} x
 * @param {number} y
 * @returns {{row: ModuleRow, neuron: number | null} | null}
 */
export function moduleAt(layout, x, y) {
  const row = layout.rows[firstBelow(layout.rows, y)];
  if (!row || y < row.y || y >= row.y + row.h || x < layout.gutter - 4) return null;
  const { strip } = row;
  const [column, line] = [Math.floor((x - strip.x) / strip.cell), Math.floor((y - strip.y) / strip.cell)];
  const at = line * strip.columns + column;
  const isCell = column >= 0 && column < strip.columns && line >= 0 && at < strip.cells;
  return { row, neuron: isCell ? at * strip.group : null };
}

/**
 * Return the place of the first row that ends below a height.
 * @param {ModuleRow[]} rows
 * @param {number} y
 */
export function firstBelow(rows, y) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].y + rows[middle].h <= y) low = middle + 1;
    else high = middle;
  }
  return low;
}
