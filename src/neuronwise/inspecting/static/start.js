// The page begins: with the list of runs, or with one of them.

import { h, refill } from "./dom.js";
import { render } from "./main.js";
import { visible, whole } from "./numbers.js";
import { showRuns } from "./runs_view.js";
import { servedHost } from "./served.js";

/** Show the data that stands in the page itself. */
export async function startPage() {
  const place = /** @type {HTMLElement} */ (document.getElementById("neuronwise"));
  const data = /** @type {HTMLElement} */ (document.getElementById("neuronwise-data"));
  const payload = JSON.parse(data.textContent ?? "null");
  if (payload?.format === "neuronwise-runs") {
    showRuns(place, payload);
    return;
  }
  const isServed = Boolean(payload?.served);
  const host = isServed ? servedHost(payload) : { get: () => payload };
  // Weights that are too many to stand in the page are asked for first: without them there is no answer to show.
  if (host.askStep && payload.network.answers && !payload.weights.states.length) {
    refill(place, h("p", { class: "nw-failed", role: "status" }, `Reading ${whole(payload.network.parameter_count)} weights …`));
    try {
      payload.first = await host.askStep(payload.weights.delivered);
    } catch (error) {
      refill(place, h("p", { class: "nw-failed" }, `The weights cannot be read: ${visible(error instanceof Error ? error.message : error, 300)} Is the command neuronwise ui still running? Load the page again then.`));
      return;
    }
  }
  render({ model: host, el: place, address: isServed });
  // So that its keys work at once, before anything in it is chosen.
  place.setAttribute("tabindex", "-1");
  place.focus({ preventScroll: true });
}
