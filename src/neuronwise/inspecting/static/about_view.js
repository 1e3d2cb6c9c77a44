// What is in this page, and what is not.

import { h, openable, refill } from "./dom.js";
import { counted, visible, whole } from "./numbers.js";

/** What is in the page, and what is not. */
export class AboutView {
  /** @param {Element} root @param {import("./model.js").Model} model */
  constructor(root, model) {
    this.root = root;
    this.model = model;
  }

  update() {
    const { payload, examples } = this.model;
    const shown = payload.examples;
    refill(this.root, h("h2", { tabindex: "-1" }, "What is in this page"),
      h("ul", {},
        h("li", {}, `Weights at ${counted(this.model.steps.length, "step")}${this.model.steps.length > 1 ? `, ${whole(this.model.steps[0])} to ${whole(this.model.steps[this.model.steps.length - 1])}` : ""}; delivered is that of step ${whole(this.model.delivered)}.`),
        h("li", {}, shown ? `${whole(examples.count)} of ${whole(shown.of)} ${({ test: "held-out", validation: "validation", train: "training" })[/** @type {"test"} */ (shown.part)] ?? shown.part} rows of the data, ${whole(shown.bytes)} bytes.` : payload.redacted ? "No rows of the data: the page was made with --redact." : "No rows of the data.",
          shown ? openable("Which rows", () => h("p", { class: "nw-note" }, `Numbers in the data, from 0: ${shown.rows.map(whole).join("; ")}. Without them: neuronwise export RUN --html FILE --redact`)) : null),
        ...(payload.notes ?? []).map((/** @type {string} */ note) => h("li", {}, visible(note, 400))),
        ...((payload.training?.problems ?? []).map((/** @type {string} */ problem) => h("li", {}, `The recording: ${visible(problem, 400)}`))),
        h("li", {}, "Nothing is loaded from anywhere, and nothing you draw or type leaves this page.")),
      h("p", { class: "nw-note" }, this.model.answers ? "Answers, sums and contributions are computed here, by the same forward pass as in Python." : "No answer is computed here: what is shown was measured while the model learned."));
  }
}
