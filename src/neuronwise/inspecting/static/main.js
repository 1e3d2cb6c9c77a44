// Joins the views: what changes in the store is shown everywhere. One entry, `render`, for a page and for a notebook.

import { h, refill, refilled } from "./dom.js";
import { Model } from "./model.js";
import { counted, figure, measureName, visible, whole } from "./numbers.js";
import { firstLook } from "./first_look.js";
import { PALETTES } from "./scales.js";
import { Store, toAddress } from "./state.js";
import { AboutView } from "./about_view.js";
import { DiagnosisView } from "./diagnosis_view.js";
import { InputView } from "./input_view.js";
import { LayerView } from "./layer_view.js";
import { ModuleNeuronView } from "./module_neuron_view.js";
import { ModuleSide, noForwardPass } from "./module_side.js";
import { ModulesView } from "./modules_view.js";
import { NetworkView } from "./network_view.js";
import { NeuronView } from "./neuron_view.js";
import { PredictionView } from "./prediction_view.js";
import { ChangesView, changesInWords } from "./changes_view.js";
import { TimeView } from "./time_view.js";
import { Tour } from "./tour.js";

const KEYS = [
  ["arrows", "in the picture: move between neurons and layers"], ["Enter", "open the neuron that is framed"], ["Esc", "back to the picture"],
  ["Home, End", "first and last step"], ["Page Up, Page Down", "ten steps back, ten on"], ["[ and ]", "one step back, one on"], ["Space", "play the training, stop"],
  ["n and p", "next and previous example"], ["1, 2, 3, 4", "neuron, layer, answer, diagnosis"], ["s", "silence the neuron, or let it speak"], ["r", "restore what was changed by hand"], ["?", "this list"],
];

/**
 * Show a run in an element. `model.get("payload")` gives the data; `model.askStep`, where there is one, any other step.
 * @param {{model: any, el: HTMLElement, signal?: AbortSignal, address?: boolean}} host
 * @returns {() => void} takes all of it away again
 *
 * What is shown can be asked for and changed from outside by `el.neuronwise`, which holds `model` and `store`.
 */
export function render({ model: host, el, signal: outer, address = false }) {
  const control = new AbortController();
  const { signal } = control;
  outer?.addEventListener("abort", () => control.abort(), { once: true });
  /** @type {Model} */
  let model;
  try {
    model = new Model(host.get("payload"));
  } catch (error) {
    refill(el, h("p", { class: "nw-failed" }, `The data of this page cannot be read: ${error instanceof Error ? error.message : error}. Write the page again: neuronwise export RUN --html FILE`));
    return () => control.abort();
  }
  el.classList.add("nw-root");
  const start = firstLook(model, address ? location.hash : "");
  const store = new Store(start);

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const paper = window.matchMedia("print");
  const theme = { palette: PALETTES.light, dark: false, still: still.matches };
  /** @type {"" | "light" | "dark"} */
  let forced = "";
  const choose = () => {
    theme.dark = !paper.matches && (forced ? forced === "dark" : dark.matches);
    theme.palette = theme.dark ? PALETTES.dark : PALETTES.light;
    theme.still = still.matches;
    el.setAttribute("data-theme", theme.dark ? "dark" : "light");
  };
  choose();

  const { run } = model.payload;
  const places = Object.fromEntries(["input", "network", "panel", "time", "tour", "help", "failure", "changes"].map((name) => [name, h("div", { class: `nw-${name}` })]));
  const tabs = [["neuron", "Neuron"], ["layer", "Layer"], ["answer", "Answer"], ["diagnosis", "Diagnosis"], ["about", "About"]];
  const tabList = h("div", { class: "nw-tabs", role: "tablist", "aria-label": "What is shown below" }, ...tabs.map(([view, words]) => h("button", {
    type: "button", role: "tab", id: `nw-tab-${view}`, "aria-controls": "nw-panel", signal, on: { click: () => store.set({ view }), keydown: (/** @type {KeyboardEvent} */ event) => tabKey(event, view) },
  }, words)));
  places.panel.id = "nw-panel";
  places.panel.setAttribute("role", "tabpanel");
  const metrics = Object.entries(run.metrics ?? {}).slice(0, 2).map(([name, value]) => `${measureName(name)} ${figure(Number(value), 4)}`).join(", ");
  const main = h("main", { class: "nw-main", "aria-busy": "true" },
    h("section", { class: "nw-card nw-inputcard", "aria-label": model.answers ? "What the network is shown" : "What the cells show" }, places.input),
    h("section", { class: "nw-card nw-networkcard", "aria-label": "The network" }, places.network),
    h("section", { class: "nw-card nw-panelcard" }, tabList, places.changes, places.panel));
  refill(el,
    h("header", { class: "nw-header" },
      h("div", {}, h("h1", {}, visible(run.name, 60)), h("p", { class: "nw-note" }, `${model.net.sizes.includes("×") ? model.net.sizes.replaceAll("-", " → ") : model.net.sizes}, ${whole(model.net.parameter_count)} weights and biases${metrics ? `; held-out ${metrics}` : ""}${run.status && run.status !== "finished" ? `; ${model.payload.live ? "not ended: this page follows it" : run.status.replaceAll("_", " ")}` : ""}`)),
      h("div", { class: "nw-line" },
        address ? h("a", { href: "/", class: "nw-link" }, "All runs") : null,
        model.answers ? h("button", { type: "button", signal, on: { click: () => tour.start() } }, "Guided tour") : null,
        h("button", { type: "button", "aria-label": "Light or dark", signal, on: { click: () => { forced = theme.dark ? "light" : "dark"; choose(); everything(); } } }, "◐"),
        h("button", { type: "button", "aria-label": "Keys", signal, on: { click: () => help() } }, "?"))),
    places.tour, places.help, places.failure,
    main,
    h("footer", { class: "nw-card nw-footer", "aria-label": "Time" }, places.time));

  const tour = model.answers ? new Tour(places.tour, model, store, theme, signal) : { start() {}, end() {} };
  const time = new TimeView(places.time, model, store, theme, signal);
  const network = new (model.answers ? NetworkView : ModulesView)(places.network, model, store, theme, signal);
  const input = new (model.answers ? InputView : ModuleSide)(places.input, model, store, theme, signal);
  /** @type {Map<string, {update: () => void}>} */
  const panels = new Map();
  for (const [view, panel] of /** @type {[string, {update: () => void}][]} */ ([
    ["neuron", new (model.answers ? NeuronView : ModuleNeuronView)(places.panel, model, store, theme, signal)],
    ["layer", new LayerView(places.panel, model, store, theme, signal)],
    ["answer", model.answers ? new PredictionView(places.panel, model, store, theme, signal) : { update: () => refill(places.panel, h("h2", { tabindex: "-1" }, "No answer is shown"), h("p", { class: "nw-empty" }, noForwardPass(model))) }],
    ["diagnosis", new DiagnosisView(places.panel, model, store, theme, signal, host)],
    ["about", new AboutView(places.panel, model)],
  ])) panels.set(view, panel);
  const changes = new ChangesView(places.changes, model, store, signal);
  time.also = () => [input.said, model.isChanged ? `${changesInWords(model)} by hand.` : ""].filter(Boolean).join(" ");
  const shownView = () => (panels.has(store.now.view) ? store.now.view : "neuron");

  let [due, resting, wanted, cost] = [0, 0, 0, 0];
  /** Say to assistive technology, and to tests, whether something is still to be drawn. */
  const tellBusy = () => main.setAttribute("aria-busy", String(Boolean(due || resting)));
  const showPanel = () => {
    clearTimeout(resting);
    resting = 0;
    const began = performance.now();
    const view = shownView();
    for (const tab of tabList.children) {
      const isChosen = tab.id === `nw-tab-${view}`;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.setAttribute("tabindex", isChosen ? "0" : "-1");
    }
    places.panel.setAttribute("aria-labelledby", `nw-tab-${view}`);
    refilled(places.panel, () => panels.get(view)?.update());
    refilled(places.changes, () => changes.update());
    cost = performance.now() - began;
    tellBusy();
    if (view === "neuron") askNeuron();
  };
  /** Ask a server for every recorded step of the neuron that is looked at, once the choice rests on it. */
  function askNeuron() {
    const { layer, neuron } = store.now;
    const key = `${layer} ${neuron}`;
    clearTimeout(wanted);
    if (!host.askNeuron || layer < 0 || model.exact.has(key) || !model.measured(layer)) return;
    wanted = window.setTimeout(async () => {
      try {
        model.takeNeuron(layer, neuron, await host.askNeuron(layer, neuron));
        if (!signal.aborted && shownView() === "neuron" && store.now.layer === layer && store.now.neuron === neuron) refilled(places.panel, () => panels.get("neuron")?.update());
      } catch (error) {
        model.exact.set(key, null); // what stands in the page itself is shown
      }
    }, 200);
  }
  const everything = () => {
    network.update();
    input.update();
    time.update();
    input.drawPad();
    // Where the panel is dear, the picture is seen first.
    if (model.answers && model.work * model.answered > 1e7) resting ||= window.setTimeout(showPanel, 20);
    else showPanel();
    tellBusy();
  };

  let asked = -1;
  /** Ask for the weights of a step, once the slider rests on it. @param {number} step */
  function askFor(step) {
    if (!host.askStep || asked === step) return;
    asked = step;
    time.failed = -1;
    window.setTimeout(async () => {
      if (store.now.step !== step || signal.aborted) return;
      try {
        const found = await host.askStep(step);
        model.take(step, found.parameters, found.buffers);
        model.changed();
        refill(places.failure);
        if (store.now.step === step && !signal.aborted) everything();
      } catch (error) {
        asked = -1;
        time.failed = step;
        time.update();
        if (store.now.step === step && !signal.aborted) fail(`Step ${whole(step)} cannot be shown`, error, () => askFor(step));
      }
    }, 60);
  }

  /** Say what went wrong, and offer to try it again. @param {string} what @param {unknown} error @param {() => void} again */
  function fail(what, error, again) {
    const reason = error instanceof TypeError ? "the command neuronwise ui does not answer; is it still running?" : visible(error instanceof Error ? error.message : error, 300);
    refill(places.failure, h("p", { class: "nw-warning" }, `⚠ ${what}: ${reason} `, h("button", { type: "button", signal, on: { click: () => { refill(places.failure); again(); } } }, "Try again")));
  }

  store.listen((now, before) => {
    if (address) history.replaceState(null, "", `#${toAddress(now)}`);
    if (now.step !== before.step && !model.has(now.step)) askFor(now.step);
    // Many changes within a frame are drawn once. While the slider moves, or something is drawn, the panel follows the
    // picture a little later; where it is dear, as it asks for all examples, it waits until the slider rests.
    const isStep = now.step !== before.step || (now.example < 0 && now.focus.startsWith("made"));
    const isDear = model.answers && model.work * model.answered > 1e7;
    if (!isStep || isDear) clearTimeout(resting);
    if (!isStep) resting = 0;
    else if (isDear || !resting) resting = window.setTimeout(showPanel, isDear ? 180 : Math.max(40, Math.min(180, 4 * cost)));
    if (due) return;
    main.setAttribute("aria-busy", "true");
    due = requestAnimationFrame(() => {
      due = 0;
      network.update();
      time.update();
      input.update();
      if (!resting || store.now.focus === "panel") showPanel();
      if (store.now.focus === "panel") {
        /** @type {HTMLElement | null} */ (places.panel.querySelector("h2"))?.focus();
        store.now.focus = "";
      }
      tellBusy();
    });
    if (now.example !== before.example) network.pulse();
  }, signal);

  /** @param {KeyboardEvent} event @param {string} view */
  function tabKey(event, view) {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by) return;
    const at = (tabs.findIndex(([name]) => name === view) + by + tabs.length) % tabs.length;
    store.set({ view: tabs[at][0] });
    /** @type {HTMLElement} */ (tabList.children[at]).focus();
    event.preventDefault();
    event.stopPropagation();
  }

  function back() {
    tour.end();
    refill(places.help);
    network.canvas.focus({ preventScroll: true });
  }

  function help() {
    const open = places.help.childElementCount > 0;
    refill(places.help, open ? null : h("section", { class: "nw-card" }, h("h3", {}, "Keys"), h("dl", { class: "nw-keys" }, ...KEYS.flatMap(([key, words]) => [h("dt", {}, key), h("dd", {}, words)]))));
  }

  el.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = ["SELECT", "TEXTAREA"].includes(target.tagName) || (target.tagName === "INPUT" && !["range", "radio"].includes(/** @type {HTMLInputElement} */ (target).type));
    if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      /** @type {Record<string, () => void>} */
      const acts = {
        "?": help, Home: () => time.go(0), End: () => time.go(model.steps.length - 1), PageUp: () => time.go(time.at() - 10), PageDown: () => time.go(time.at() + 10),
        "[": () => time.go(time.at() - 1), "]": () => time.go(time.at() + 1),
        n: () => model.examples.count && input.move(1), p: () => model.examples.count && input.move(-1),
        1: () => store.set({ view: "neuron" }), 2: () => store.set({ view: "layer" }), 3: () => store.set({ view: "answer" }), 4: () => store.set({ view: "diagnosis" }),
        s: () => { if (model.answers && store.now.layer >= 0) { model.toggleSilence(store.now.layer, store.now.neuron); store.set({ focus: `silence ${model.changes}` }); } },
        r: () => { if (model.isChanged) { model.restore(); store.set({ focus: `restored ${model.changes}` }); } },
        Escape: back,
      };
      if (!["BUTTON", "SUMMARY"].includes(target.tagName)) acts[" "] = () => time.play();
      const act = Object.hasOwn(acts, event.key) ? acts[event.key] : undefined;
      if (act) {
        act();
        event.preventDefault();
      }
    } else if (typing && event.key === "Escape") back();
    event.stopPropagation(); // a notebook around it has keys of its own
  }, { signal });
  /** Ask every two seconds what came of a training that runs; who looks at the newest state goes on to the next. */
  function follow() {
    if (!model.payload.live || !host.askNews) return;
    const timer = window.setTimeout(async () => {
      try {
        const news = await host.askNews(model.delivered);
        if (signal.aborted) return;
        const isNewest = store.now.step === model.delivered;
        model.payload.live = news.live;
        model.extend(news);
        time.read();
        if (isNewest && !time.isPlaying) store.set({ step: model.delivered });
        time.update();
        if (!news.live) {
          refill(places.failure, h("p", { class: "nw-warning" }, "The training has ended. ", h("button", { type: "button", signal, on: { click: () => location.reload() } }, "Show the finished run")));
          return;
        }
      } catch (error) {
        if (!signal.aborted) fail("The training cannot be followed", error, follow);
        return;
      }
      follow();
    }, 2000);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  }

  for (const query of [dark, still, paper]) query.addEventListener("change", () => { choose(); everything(); }, { signal });
  everything();
  if (!model.has(store.now.step)) askFor(store.now.step); // that of an address, or of weights too many for the page
  follow();
  Object.defineProperty(el, "neuronwise", { value: { model, store }, configurable: true });
  return () => {
    control.abort();
    if (due) cancelAnimationFrame(due);
    clearTimeout(resting);
    clearTimeout(wanted);
    refill(el);
  };
}
