// What the network is shown: an example of the data, a drawing, or a row edited in its original units.

import { h, refill } from "./dom.js";
import { likeTraining, unexplained } from "./drawing.js";
import { decodeCell, encodeCell, unfamiliarCells } from "./encode.js";
import { unpack } from "./decode.js";
import { datum, figure, visible, whole } from "./numbers.js";
import { picture, sharpen } from "./pictures.js";
import { css } from "./scales.js";

export class InputView {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {{palette: any, dark: boolean, still: boolean}} theme
   * @param {AbortSignal} signal
   */
  constructor(root, model, store, theme, signal) {
    this.root = root;
    this.model = model;
    this.store = store;
    this.theme = theme;
    this.signal = signal;
    this.filter = "all";
    /** What the filter left when it was last asked. @type {number[]} */
    this.listed = [];
    this.picker = h("div", { class: "nw-picker" });
    this.maker = h("div", {});
    this.warnings = h("div", { class: "nw-warnings" });
    /** What is warned of, in words. */
    this.said = "";
    root.append(h("h2", { class: "nw-sectionname" }, "What it is shown"), this.picker, this.maker, this.warnings);
    if (!model.examples.count) {
      this.picker.append(h("p", { class: "nw-empty" }, model.payload.redacted ? "No rows of the data are here: the page was made with --redact. Make an input of your own." : "No rows of the data are here. Make an input of your own; or write the page where the data is: neuronwise export RUN --html FILE"));
    }
    const { drawn, familiar } = model.inputs;
    this.drawn = drawn ?? null;
    this.familiar = familiar ? { mean: unpack(familiar.mean), directions: unpack(familiar.directions), limit: familiar.limit } : null;
    /** @type {import("./drawing.js").Stroke[]} */
    this.strokes = [];
    this.pad = /** @type {HTMLCanvasElement} */ (h("canvas", {}));
    this.cursor = [Math.floor((model.inputs.shape?.[0] ?? 2) / 2), Math.floor((model.inputs.shape?.[1] ?? 2) / 2)];
    this.pen = false;
    this.build();
  }

  build() {
    const { model, signal, store } = this;
    const isDrawable = model.inputs.kind === "picture" && (model.inputs.shape[2] ?? 1) === 1;
    if (model.examples.count) {
      const kinds = [["all", "all"], ...(model.outputs.task && model.outputs.task !== "regression" ? [["wrong", "answered wrongly"], ...model.outputs.classes.slice(0, 40).map((/** @type {string} */ name, /** @type {number} */ id) => [`class ${id}`, visible(name, 24)])] : [["far", "furthest off"]])];
      this.select = h("select", { signal, "aria-label": "Which examples", on: { change: (/** @type {any} */ event) => { this.filter = event.target.value; this.move(0); this.update(); } } }, ...kinds.map(([value, words]) => h("option", { value }, words)));
      this.place = h("output", { class: "nw-place" });
      this.picker.append(
        h("div", { class: "nw-line" }, h("button", { type: "button", "aria-label": "Previous example", signal, on: { click: () => this.move(-1) } }, "◂"), this.place,
          h("button", { type: "button", "aria-label": "Next example", signal, on: { click: () => this.move(1) } }, "▸"), this.select));
    }
    if (isDrawable) {
      this.pad = /** @type {HTMLCanvasElement} */ (h("canvas", { class: "nw-pad", tabindex: "0", role: "application", "aria-label": "Draw here. With keys: arrows move the pen, with Shift faster, Space puts it down or lifts it, Delete clears." }));
      this.seen = h("div", { class: "nw-seen" });
      this.keysNote = h("p", { class: "nw-note", hidden: true }, "Keys: arrows move the pen (Shift: faster), Space puts it down or lifts it, Delete clears.");
      const clear = h("button", { type: "button", signal, on: { click: () => this.clear() } }, "Clear");
      this.maker.append(openedPart("Draw your own", h("div", {}, h("div", { class: "nw-draw" }, this.pad, this.seen), this.keysNote, h("div", { class: "nw-line" }, clear, h("small", { class: "nw-note" }, this.drawn ? "Brought to the size, thickness and centre of the training's pictures." : "Taken as it is drawn.")))));
      // A finger that leaves the pad in motion has not flung the page: without this, the tap after it only stops the fling.
      this.pad.addEventListener("touchstart", (event) => event.preventDefault(), { signal, passive: false });
      this.pad.addEventListener("pointerdown", (event) => this.penDown(event), { signal });
      this.pad.addEventListener("pointermove", (event) => this.penMove(event), { signal });
      for (const end of ["pointerup", "pointercancel"]) this.pad.addEventListener(end, () => { this.drawing = false; }, { signal });
      this.pad.addEventListener("keydown", (event) => this.key(event), { signal });
      this.pad.addEventListener("focus", () => this.drawPad(), { signal });
      this.pad.addEventListener("blur", () => this.drawPad(), { signal });
      requestAnimationFrame(() => this.drawPad());
    } else if (model.inputs.kind === "table") {
      this.fields = h("div", { class: "nw-form" });
      this.maker.append(openedPart(`Edit this row`, h("div", {}, this.fields, h("button", { type: "button", class: "nw-after", signal, on: { click: () => { if (store.now.example < 0 && model.examples.count) store.set({ example: this.from ?? 0 }); } } }, "Back to the row of the data"))));
    } else if (model.inputs.kind === "vector" && model.inputSize <= 400) {
      this.fields = h("div", { class: "nw-form" });
      this.maker.append(openedPart("Edit these inputs", this.fields));
    }
  }

  /** The examples that the filter leaves. */
  chosen() {
    const { model, store } = this;
    const all = Array.from({ length: model.examples.count }, (_, e) => e);
    if (this.filter === "wrong") return all.filter((e) => model.isRight(store.now.step, e) === false);
    if (this.filter.startsWith("class ")) return all.filter((e) => model.examples.y[e * model.outputsPerRow] === Number(this.filter.slice(6)));
    if (this.filter === "far") {
      const off = (/** @type {number} */ e) => { const trace = model.trace(store.now.step, e); return Math.abs(trace[trace.length - 1].a[0] - model.examples.y[e * model.outputsPerRow]); };
      return all.map((e) => ({ e, size: off(e) })).sort((p, q) => q.size - p.size).slice(0, 30).map(({ e }) => e);
    }
    return all;
  }

  /** @param {number} by */
  move(by) {
    const list = (this.listed = this.chosen());
    if (!list.length) {
      this.place.textContent = this.filter === "wrong" ? "none is wrong" : "none";
      return;
    }
    const at = list.indexOf(this.store.now.example);
    this.store.set({ example: list[at < 0 ? 0 : (at + by + list.length) % list.length] });
  }

  update() {
    const { model, store } = this;
    const { example } = store.now;
    if (this.place && !(this.filter !== "all" && !this.listed.length)) {
      const list = this.filter === "all" || example < 0 ? [] : this.listed;
      const at = list.indexOf(example);
      const words = at < 0 ? `${whole(example + 1)} of ${whole(model.examples.count)}` : `${whole(at + 1)} of ${whole(list.length)} ${this.filter === "wrong" ? "wrong" : this.filter === "far" ? "furthest off" : "of its class"}`;
      this.place.textContent = example < 0 ? "yours" : `row ${whole(model.examples.rows[example])} (${words})`;
    }
    if (example >= 0) this.from = example;
    if (this.fields && !(example < 0 && this.fields.childElementCount)) this.fillFields();
    this.warn();
  }

  warn() {
    const { model, store } = this;
    const said = [];
    const x = model.input(store.now.example);
    if (model.inputs.kind === "table") {
      for (const [name, words] of unfamiliarCells(model.inputs.columns, x, (value) => datum(value, 6))) said.push(`${visible(name, 30)}: ${words}`);
    }
    if (store.now.example < 0 && this.familiar && model.made) {
      const share = unexplained(x, this.familiar.mean, this.familiar.directions);
      if (share > this.familiar.limit) said.push(`This is unlike anything seen in training: ${figure(100 * share, 2)} % of it lies outside what training pictures have in common (of 99 in 100 of those at most ${figure(100 * this.familiar.limit, 2)} %). Do not trust the answer.`);
    }
    this.said = said.join(" ");
    refill(this.warnings, ...said.map((words) => h("p", { class: "nw-warning" }, `⚠ ${words}`)));
  }

  fillFields() {
    const { model, signal } = this;
    const x = model.input(this.store.now.example);
    if (model.inputs.kind === "vector") {
      refill(this.fields, ...Array.from(x, (value, i) => h("label", {}, `${model.inputName(i)} `, h("input", { type: "number", step: "any", value: String(Number(value.toPrecision(6))), signal, on: { input: (/** @type {any} */ event) => { const made = this.copy(); made[i] = Number(event.target.value); this.give(made); } } }))));
      return;
    }
    refill(this.fields, ...model.inputs.columns.map((/** @type {import("./encode.js").Column} */ column) => this.field(column, x)));
  }

  /** @param {import("./encode.js").Column} column @param {Float32Array} x */
  field(column, x) {
    const { signal } = this;
    const cell = decodeCell(column, x);
    const give = (/** @type {import("./encode.js").Cell} */ next) => {
      const made = this.copy();
      encodeCell(column, next, made);
      this.give(made);
    };
    const first = column.inputs[0];
    let input;
    if (column.kind === "category") {
      input = h("select", { signal, on: { change: (/** @type {any} */ event) => { const at = Number(event.target.value); give({ missing: at === -2, value: at >= 0 ? column.inputs[at].category : null }); } } },
        ...column.inputs.flatMap((one, at) => (one.category === null ? [] : [h("option", { value: at, selected: cell.value === one.category }, visible(one.category, 40))])),
        h("option", { value: -1, selected: !cell.missing && cell.value === null }, "another one"), column.inputs.some((one) => one.part === "missing") ? h("option", { value: -2, selected: cell.missing }, "missing") : null);
    } else if (column.kind === "yes/no") {
      input = h("select", { signal, on: { change: (/** @type {any} */ event) => give({ missing: event.target.value === "", value: Number(event.target.value) }) } },
        h("option", { value: "1", selected: cell.value === 1 }, "yes"), h("option", { value: "0", selected: cell.value === 0 }, "no"), column.inputs.some((one) => one.part === "missing") ? h("option", { value: "", selected: cell.missing }, "missing") : null);
    } else if (column.kind === "date") {
      const hasHour = column.inputs.some((one) => one.part === "hour");
      input = h("input", { type: hasHour ? "datetime-local" : "date", value: cell.missing ? "" : String(cell.value), signal, on: { input: (/** @type {any} */ event) => give({ missing: event.target.value === "", value: event.target.value }) } });
    } else {
      input = h("input", { type: "number", step: "any", value: cell.missing ? "" : String(cell.value), signal, title: first.scaled ? `seen in training: ${datum(first.minimum, 6)} to ${datum(first.maximum, 6)}` : null,
        on: { input: (/** @type {any} */ event) => { if (event.target.value === "" || Number.isFinite(Number(event.target.value))) give({ missing: event.target.value === "", value: Number(event.target.value) }); } } });
    }
    input.setAttribute("aria-label", visible(column.name, 80)); // without it, a list's choices would count as its name
    return h("label", {}, h("span", {}, visible(column.name, 40)), input);
  }

  copy() {
    return this.model.input(this.store.now.example).slice();
  }

  /** @param {Float32Array} x */
  give(x) {
    this.model.make(x);
    this.store.set({ example: -1, focus: `made ${this.model.madeCount}` });
  }

  // --- drawing

  /** @param {PointerEvent} event @returns {[number, number]} */
  at(event) {
    const box = this.pad.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  /** @param {PointerEvent} event */
  penDown(event) {
    event.preventDefault();
    this.pad.focus();
    try { this.pad.setPointerCapture(event.pointerId); } catch { /* a pointer that is no longer there */ }
    this.drawing = true;
    this.strokes.push([this.at(event)]);
    this.look();
  }

  /** @param {PointerEvent} event */
  penMove(event) {
    if (!this.drawing) return;
    event.preventDefault();
    this.strokes[this.strokes.length - 1].push(this.at(event));
    this.look();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const moves = new Map([["ArrowUp", [-1, 0]], ["ArrowDown", [1, 0]], ["ArrowLeft", [0, -1]], ["ArrowRight", [0, 1]]]);
    const [rows, columns] = this.model.inputs.shape;
    const move = moves.get(event.key);
    const by = event.shiftKey ? Math.max(2, Math.round(rows / 8)) : 1;
    /** @type {() => [number, number]} */
    const point = () => [(this.cursor[1] + 0.5) / columns, (this.cursor[0] + 0.5) / rows];
    if (move) {
      this.cursor = [Math.max(0, Math.min(rows - 1, this.cursor[0] + by * move[0])), Math.max(0, Math.min(columns - 1, this.cursor[1] + by * move[1]))];
      if (this.pen) this.strokes[this.strokes.length - 1].push(point());
    } else if (event.key === " ") {
      this.pen = !this.pen;
      if (this.pen) this.strokes.push([point()]);
    } else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (this.pen) this.look();
    else this.drawPad();
  }

  clear() {
    this.strokes = [];
    this.pen = false;
    refill(this.seen);
    this.drawPad();
    if (this.store.now.example < 0 && this.model.examples.count) this.store.set({ example: this.from ?? 0 });
  }

  look() {
    this.drawPad();
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      const [rows, columns] = this.model.inputs.shape;
      const pixels = likeTraining(this.strokes, rows, columns, this.drawn);
      if (!pixels) return;
      refill(this.seen, picture(pixels, { rows, columns }, { side: 84, mode: "ink", theme: this.theme, limit: 1, title: "What the network is given", caption: "what it is given" }));
      this.give(Float32Array.from(pixels));
    });
  }

  drawPad() {
    if (!this.pad.isConnected) return;
    const side = 148;
    const [rows, columns] = this.model.inputs.shape;
    const context = sharpen(this.pad, side, (side * rows) / columns);
    const { dark } = this.theme;
    const tall = (side * rows) / columns;
    context.fillStyle = css(dark ? [12, 14, 18] : [255, 255, 255]);
    context.fillRect(0, 0, side, tall);
    context.strokeStyle = css(dark ? [245, 247, 250] : [22, 26, 32]);
    context.lineWidth = side / 13;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(stroke[0][0] * side, stroke[0][1] * tall);
      for (const [x, y] of stroke) context.lineTo(x * side, y * tall);
      context.stroke();
    }
    const isHeld = document.activeElement === this.pad;
    if (this.keysNote) this.keysNote.hidden = !isHeld;
    if (isHeld && rows <= 32 && columns <= 32) {
      context.strokeStyle = css(dark ? [255, 255, 255] : [0, 0, 0], 0.1);
      context.lineWidth = 1;
      context.beginPath();
      for (let r = 1; r < rows; r++) { context.moveTo(0, (r / rows) * tall); context.lineTo(side, (r / rows) * tall); }
      for (let c = 1; c < columns; c++) { context.moveTo((c / columns) * side, 0); context.lineTo((c / columns) * side, tall); }
      context.stroke();
    }
    if (isHeld) {
      context.strokeStyle = css(this.theme.palette.positive);
      context.lineWidth = this.pen ? 3 : 1.5;
      context.strokeRect((this.cursor[1] / columns) * side, (this.cursor[0] / rows) * tall, side / columns, tall / rows);
    }
    if (!this.strokes.length) {
      context.fillStyle = css(dark ? [150, 158, 168] : [110, 118, 128]);
      context.font = "13px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText("draw here", side / 2, tall / 2);
    }
  }
}

/** @param {string} words @param {Node} content */
function openedPart(words, content) {
  // On a narrow page the network comes first.
  return h("details", { class: "nw-details", open: window.innerWidth >= 900 }, h("summary", {}, words), content);
}

