// The moments of the training: a slider over the steps that are here, play, and the loss beneath.

import { lineChart } from "./charts.js";
import { unpack } from "./decode.js";
import { h, refill } from "./dom.js";
import { figure, whole } from "./numbers.js";

export class TimeView {
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
    /** The step that was asked for in vain. */
    this.failed = -1;
    /** What else is to be said, beside the step. @type {() => string} */
    this.also = () => "";
    /** What the chart of the loss was drawn of. @type {{training: any, width: number} | null} */
    this.drawn = null;
    this.read();
    const { steps } = model;
    this.slider = h("input", { type: "range", min: 0, max: Math.max(steps.length - 1, 0), value: String(this.at()), "aria-label": "Step of the training", disabled: steps.length < 2, signal, on: { input: (/** @type {any} */ event) => this.go(Number(event.target.value)), keydown: (/** @type {KeyboardEvent} */ event) => this.key(event) } });
    this.button = h("button", { type: "button", class: "nw-play", "aria-label": "Play the training", disabled: steps.length < 2, signal, on: { click: () => this.play() } }, "▶");
    this.words = h("output", { class: "nw-step" });
    this.plot = h("div", { class: "nw-loss" });
    this.spoken = h("p", { class: "nw-hidden", "aria-live": "polite" });
    root.append(h("div", { class: "nw-timeline" }, this.button, this.slider, this.words), this.plot, this.spoken);
    this.timer = 0;
    signal.addEventListener("abort", () => clearTimeout(this.timer), { once: true });
    this.plot.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const chart = this.plot.querySelector("svg");
      if (!chart || !this.last) return;
      const box = chart.getBoundingClientRect();
      const t = ((event.clientX - box.left) / box.width * chart.viewBox.baseVal.width - 46) / (chart.viewBox.baseVal.width - 54);
      this.goTo(t * this.last);
    }, { signal });
    /** Known from the observer: to ask for it within a frame lays the page out once more. */
    this.wide = root.clientWidth;
    const watcher = new ResizeObserver(([entry]) => { this.wide = entry.contentRect.width; this.drawLoss(); });
    watcher.observe(root);
    signal.addEventListener("abort", () => watcher.disconnect(), { once: true });
  }

  /** Take in the losses, and what steps there are. */
  read() {
    this.training = this.model.payload.training ?? null;
    this.loss = this.training ? { steps: unpack(this.training.steps), losses: unpack(this.training.losses) } : null;
    this.validation = null;
    if (this.slider) {
      this.slider.max = String(Math.max(this.model.steps.length - 1, 0));
      this.slider.disabled = this.button.disabled = this.model.steps.length < 2;
    }
  }

  /** Which of the steps is looked at. */
  at() {
    const { steps } = this.model;
    let [low, high] = [0, steps.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < this.store.now.step) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {number} place */
  go(place) {
    const { steps } = this.model;
    this.store.set({ step: steps[Math.max(0, Math.min(steps.length - 1, place))] });
  }

  /** Go to the step nearest to one. @param {number} step */
  goTo(step) {
    const { steps } = this.model;
    let best = 0;
    for (let i = 1; i < steps.length; i++) if (Math.abs(steps[i] - step) < Math.abs(steps[best] - step)) best = i;
    this.go(best);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { steps } = this.model;
    const moves = new Map([["Home", -steps.length], ["End", steps.length], ["PageUp", -10], ["PageDown", 10], ["ArrowLeft", -1], ["ArrowRight", 1], ["ArrowUp", -1], ["ArrowDown", 1]]);
    const move = moves.get(event.key);
    if (event.key === " ") this.play();
    else if (move !== undefined) this.go(this.at() + move);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  get isPlaying() {
    return this.timer !== 0;
  }

  play() {
    if (this.timer) return this.stop();
    const { steps } = this.model;
    if (steps.length < 2) return undefined;
    if (this.at() >= steps.length - 1) this.go(0);
    const each = Math.max(60, Math.min(400, 12000 / steps.length));
    const by = Math.max(1, Math.round(steps.length / 200));
    const next = () => {
      if (this.at() >= steps.length - 1) return this.stop();
      this.go(this.at() + by);
      this.timer = window.setTimeout(next, each);
      return undefined;
    };
    this.timer = window.setTimeout(next, each);
    this.button.textContent = "❚❚";
    this.button.setAttribute("aria-label", "Stop playing");
    return undefined;
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.button.textContent = "▶";
    this.button.setAttribute("aria-label", "Play the training");
  }

  update() {
    const { step } = this.store.now;
    const { model } = this;
    this.slider.value = String(this.at());
    const marks = [];
    if (step === 0) marks.push("before training");
    if (step === model.delivered) marks.push(model.payload.live ? "the newest" : "as delivered");
    const missing = model.has(step) ? "" : ` (shown is step ${whole(model.nearest(step))}; this one ${step === this.failed ? "could not be had" : "is being computed"})`;
    this.words.textContent = `step ${whole(step)}${marks.length ? `, ${marks.join(", ")}` : ""}${missing}`;
    this.slider.setAttribute("aria-valuetext", this.words.textContent);
    this.drawLoss();
    if (!this.speaking) {
      this.speaking = window.setTimeout(() => { this.speaking = 0; this.spoken.textContent = this.sentence(); }, 700);
    }
  }

  sentence() {
    const { step, example, layer, neuron } = this.store.now;
    if (!this.model.answers) return `Step ${whole(step)}. ${layer >= 0 ? this.model.neuronName(layer, neuron) : ""}`.trim();
    const trace = this.model.trace(step, example);
    const answer = this.model.answer(trace[trace.length - 1].a);
    const at = layer >= 0 && this.model.net.layers[layer].output_shape.length === 1 ? `, ${this.model.neuronName(layer, neuron)} has activation ${figure(trace[layer].a[neuron])}` : "";
    return `Step ${whole(step)}${at}; the answer is ${answer.name}, ${answer.detail}. ${this.also()}`.trim();
  }

  drawLoss() {
    if (!this.loss || !this.loss.steps.length) return;
    const width = Math.max(280, this.wide - 4);
    if (this.drawn?.training === this.training && this.drawn?.width === width) {
      // Nothing but the mark has moved.
      const x = String(46 + (Math.min(this.store.now.step, this.training.last_step) / Math.max(this.training.last_step, 1)) * (width - 54));
      const mark = this.plot.querySelector(".nw-now");
      mark?.setAttribute("x1", x);
      mark?.setAttribute("x2", x);
      if (mark) return;
    }
    this.drawn = { training: this.training, width };
    const { epochs, best_step: best, gaps, last_step: last } = this.training;
    const series = [{ name: "loss", xs: this.loss.steps, ys: this.loss.losses, tone: "nw-quiet" }];
    const at = epochs.names.indexOf("val_loss");
    if (at >= 0 && epochs.steps.length > 1) {
      const all = this.validation ?? (this.validation = unpack(epochs.values));
      series.push({ name: "validation loss", xs: epochs.steps, ys: all.slice(at * epochs.steps.length, (at + 1) * epochs.steps.length), tone: "nw-strongline" });
    }
    const bars = [];
    if (best !== null && best !== undefined) bars.push({ at: best, words: `best validation loss, at step ${best}` });
    for (const gap of gaps) if (gap.from !== null) bars.push({ at: gap.from, words: `not recorded from ${gap.from} to ${gap.to}: ${gap.reason}` });
    this.last = last;
    refill(this.plot, lineChart(series, { title: `Loss over the training, ${series.length > 1 ? "thin on the batches, thick on validation rows" : "on the batches"}`, width, height: width < 860 ? 52 : 80, log: true, mark: this.store.now.step, from: 0, to: last, bars }),
      h("p", { class: "nw-note" }, "Loss: thin on each batch", series.length > 1 ? ", thick on validation rows" : "", best ? `; dashed, the best, step ${whole(best)}` : "", this.training.status === "early_stopped" ? " (stopped early)" : "", gaps.length ? `; ${gaps.length} gaps in the recording` : "", "."));
  }
}
