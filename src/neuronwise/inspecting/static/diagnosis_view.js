// Why the training went as it did: findings with their evidence and what to try, and where to look.

import { lineChart } from "./charts.js";
import { unpack } from "./decode.js";
import { copyText, h, openable, refill } from "./dom.js";
import { counted, figure, percent, visible, whole } from "./numbers.js";

/**
 * @typedef {{quantity: string, value: number | string, threshold: number | string, is_above: boolean, source: string, series: string}} Evidence
 * @typedef {{cause: string, title: string, confidence: number, critical: boolean, layers: string[], layers_count: number,
 *   neurons: string[], neurons_count: number, first_step: number | null, evidence: Evidence[], symptoms: string[],
 *   student: string, expert: string, reference: string, treatment: {sentence: string, line: string}}} Finding
 * @typedef {{name: string, sentence: string, layers: string[], layers_count: number, neurons: string[], neurons_count: number,
 *   first_step: number | null, evidence: Evidence[]}} Symptom
 * @typedef {{findings: Finding[], symptoms: Symptom[], remarks: Symptom[], checked: string[], missing: string[],
 *   skill: number | null, steps: number, series: Record<string, {steps: number[], values: any, of: number, words?: string}>}} Diagnosis
 */

const MOST_JUMPS = 12;
// As Diagnosis.learned in Python has it.
const LEARNED_FROM = 0.02;

export class DiagnosisView {
  /**
   * @param {Element} root
   * @param {import("./model.js").Model} model
   * @param {import("./state.js").Store} store
   * @param {{palette: any, dark: boolean, still: boolean}} theme
   * @param {AbortSignal} signal
   * @param {import("./served.js").Host} host
   */
  constructor(root, model, store, theme, signal, host) {
    this.root = root;
    this.model = model;
    this.store = store;
    this.signal = signal;
    this.host = host;
    /** @type {Diagnosis | null} */
    this.found = model.payload.diagnosis ?? null;
    this.asking = false;
    this.failed = "";
  }

  update() {
    const { found, host, root } = this;
    if (!found) {
      if (host.askDiagnosis && !this.asking && !this.failed) this.ask();
      const words = this.asking ? "The training is being diagnosed …"
        : this.failed ? `It could not be diagnosed: ${visible(this.failed, 300)}`
          : "This page was made without a diagnosis. neuronwise diagnose RUN makes one; neuronwise ui shows it here.";
      refill(root, h("h2", { tabindex: "-1" }, "Diagnosis"), h("p", { class: "nw-empty", role: "status" }, words),
        this.failed || (this.asking ? false : Boolean(host.askDiagnosis)) ? h("button", { type: "button", signal: this.signal, on: { click: () => { this.failed = ""; this.ask(); this.update(); } } }, "Try again") : null);
      return;
    }
    const skill = typeof found.skill === "number" ? found.skill : null;
    const learned = skill === null ? "" : skill >= LEARNED_FROM ? ` The network gets ${percent(skill)} of the way from a constant guess to all right.` : ` Its answers are ${skill > -1 ? "no better" : "far worse"} than a constant guess.`;
    refill(root,
      h("h2", { tabindex: "-1" }, found.findings.length ? `Diagnosis: ${counted(found.findings.length, "finding")}` : "Diagnosis: nothing wrong was found"),
      h("p", { class: "nw-lead" }, `Looked at ${whole(found.steps)} steps.${learned}`),
      ...found.findings.map((one, at) => this.finding(one, at)),
      found.symptoms.length && !found.findings.length ? this.notes("What was seen", found.symptoms) : null,
      found.remarks.length ? this.notes("Remarks, which do no harm", found.remarks) : null,
      found.checked.length ? openable(`What was looked at (${whole(found.checked.length)})`, () => list(found.checked)) : null,
      found.missing.length ? openable(`What could not be looked at, and why (${whole(found.missing.length)})`, () => list(found.missing)) : null);
  }

  async ask() {
    if (!this.host.askDiagnosis) return;
    this.asking = true;
    try {
      this.found = await this.host.askDiagnosis();
    } catch (error) {
      this.failed = error instanceof TypeError ? "the command neuronwise ui does not answer" : String(error instanceof Error ? error.message : error);
    }
    this.asking = false;
    if (!this.signal.aborted && this.store.now.view === "diagnosis") this.update();
  }

  /** @param {Finding} one @param {number} at */
  finding(one, at) {
    const sure = typeof one.confidence === "number" ? percent(one.confidence) : "";
    return h("section", { class: one.critical ? "nw-finding nw-critical" : "nw-finding", "aria-label": one.title },
      h("h3", {}, `${whole(at + 1)}. ${visible(one.title, 120)} `, h("span", { class: "nw-badge" }, one.critical ? `! ${sure} sure` : `${sure} sure`)),
      h("p", {}, visible(one.student, 800)),
      this.places(one),
      one.evidence.length ? h("div", { class: "nw-evidence" }, ...one.evidence.map((each) => this.evidence(each, one))) : null,
      this.treatment(one),
      openable("For experts", () => h("div", {}, h("p", {}, visible(one.expert, 1500)), h("p", { class: "nw-note" }, `${one.cause}${one.reference ? ` · ${visible(one.reference, 300)}` : ""}`),
        one.symptoms?.length ? h("p", { class: "nw-note" }, `It shows as ${one.symptoms.join(", ")}.`) : null)));
  }

  /** Where it shows, and since when: each jumps. @param {Finding | Symptom} one */
  places(one) {
    const parts = [];
    if (one.first_step !== null && one.first_step !== undefined) parts.push("Since ", this.step(one.first_step), ". ");
    const named = one.neurons?.length ? one.neurons : one.layers ?? [];
    const count = one.neurons?.length ? one.neurons_count ?? named.length : one.layers_count ?? named.length;
    if (named.length) {
      parts.push(one.neurons?.length ? "Neurons: " : "Layers: ");
      for (const name of named.slice(0, MOST_JUMPS)) parts.push(this.jump(name, one.first_step), " ");
      if (count > Math.min(named.length, MOST_JUMPS)) parts.push(`and ${whole(count - Math.min(named.length, MOST_JUMPS))} more.`);
    }
    return parts.length ? h("p", { class: "nw-places" }, ...parts) : null;
  }

  /** @param {number} step */
  step(step) {
    return h("button", { type: "button", class: "nw-link", signal: this.signal, on: { click: () => this.store.set({ step: this.nearest(step) }) } }, `step ${whole(step)}`);
  }

  /** The step nearest to one that can be looked at. @param {number} step */
  nearest(step) {
    return this.model.steps.reduce((best, one) => (Math.abs(one - step) < Math.abs(best - step) ? one : best), this.model.steps[0]);
  }

  /** @param {string} name of a neuron or a layer @param {number | null | undefined} step */
  jump(name, step) {
    const place = this.model.find(name);
    if (!place) return h("span", {}, visible(name, 60));
    return h("button", { type: "button", class: "nw-link", signal: this.signal, on: { click: () => {
      this.store.set({ layer: place.layer, neuron: place.neuron ?? 0, row: -1, column: -1, view: place.neuron === null ? "layer" : "neuron", ...(typeof step === "number" ? { step: this.nearest(step) } : {}) });
    } } }, visible(name, 60));
  }

  /** @param {Evidence} each @param {{first_step: number | null}} one */
  evidence(each, one) {
    const number = (/** @type {number | string} */ value) => (typeof value === "number" ? figure(value, 4) : visible(value, 30));
    const words = h("p", {}, h("b", {}, visible(each.quantity.replaceAll("_", " "), 80)), ` is ${number(each.value)}, ${each.is_above ? "above" : "below"} ${number(each.threshold)}`, h("br"), h("small", {}, `limit: ${visible(each.source, 300)}`));
    return h("div", { class: "nw-one" }, words, this.series(each, one));
  }

  /** The series that a number was computed from, as far as it is stored. @param {Evidence} each @param {{first_step: number | null}} one */
  series(each, one) {
    if (!each.series) return null;
    const known = this.found?.series[each.series];
    if (!known) return h("p", { class: "nw-note" }, `${visible(each.series, 80)} is not stored in this recording, so it is not drawn.`);
    const values = unpack(known.values);
    const bars = one.first_step !== null && one.first_step !== undefined ? [{ at: one.first_step, words: `first seen at step ${whole(one.first_step)}` }] : [];
    const thinned = known.steps.length < known.of ? `, ${whole(known.steps.length)} of ${whole(known.of)} values` : "";
    return h("figure", {}, lineChart([{ name: each.series, xs: known.steps, ys: values }], { title: `${each.series} over the steps`, width: 270, height: 100, mark: this.store.now.step, bars }),
      h("figcaption", {}, `${visible(known.words || each.series, 160)}${thinned}`));
  }

  /** @param {Finding} one */
  treatment(one) {
    if (!one.treatment?.sentence) return null;
    const { sentence, line } = one.treatment;
    const copy = line ? h("button", { type: "button", class: "nw-small", signal: this.signal, on: { click: (/** @type {any} */ event) => { event.target.textContent = copyText(line, event.target.parentElement) ? "Copied" : "It could not be copied"; } } }, "Copy") : null;
    return h("div", { class: "nw-treatment" }, h("p", {}, h("b", {}, "Try: "), visible(sentence, 600)), line ? h("div", { class: "nw-line" }, h("code", {}, visible(line, 1000)), copy) : null);
  }

  /** @param {string} heading @param {Symptom[]} all */
  notes(heading, all) {
    return h("section", {}, h("h3", {}, heading), ...all.map((one) => h("div", { class: "nw-remark" }, h("p", {}, visible(one.sentence, 600)), this.places(one),
      one.evidence?.length ? openable("Evidence", () => h("div", { class: "nw-evidence" }, ...one.evidence.map((each) => this.evidence(each, one)))) : null)));
  }
}

/** @param {string[]} sentences */
function list(sentences) {
  return h("ul", {}, ...sentences.map((words) => h("li", {}, visible(words, 600))));
}
