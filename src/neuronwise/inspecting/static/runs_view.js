// All runs: searched, sorted, opened.

import { h, refill } from "./dom.js";
import { counted, figure, measureName, visible, whole } from "./numbers.js";

/** @typedef {{id: string, name: string, started: string | null, status: string, data: string, parameters: number | null, result: {name: string, value: number} | null, experiment: string}} Listed */

/** @type {[string, (run: Listed) => string | number][]} */
const COLUMNS = [
  ["name", (run) => run.name.toLowerCase()], ["begun", (run) => run.started ?? ""], ["data", (run) => run.data.toLowerCase()],
  ["weights and biases", (run) => run.parameters ?? -1], ["result", (run) => run.result?.value ?? -Infinity], ["status", (run) => run.status],
  ["experiment", (run) => run.experiment.toLowerCase()],
];

/**
 * Return the runs in which every word of a search occurs, in the order of a column.
 * @param {Listed[]} runs
 * @param {string} search
 * @param {number} column
 * @param {boolean} falls
 */
export function chosenRuns(runs, search, column, falls) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const key = COLUMNS[column][1];
  return runs
    .filter((run) => {
      const text = [run.name, run.id, run.data, run.status, run.experiment].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    })
    .sort((p, q) => {
      const [a, b] = [key(p), key(q)];
      return (a < b ? -1 : a > b ? 1 : 0) * (falls ? -1 : 1);
    });
}

/**
 * Show all runs in an element: those of this machine at once, those of the store when it has answered.
 * @param {HTMLElement} el
 * @param {{runs: Listed[], problem: string | null, limit?: number}} content `limit`: no more are listed
 */
export function showRuns(el, content) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => el.setAttribute("data-theme", dark.matches ? "dark" : "light");
  dark.addEventListener("change", theme);
  theme();
  let { runs, problem } = content;
  let [column, falls, asking] = [1, true, true];
  const said = h("p", { class: "nw-note", role: "status" });
  const body = h("tbody", {});
  const heads = COLUMNS.map(([words], at) => h("th", { scope: "col" }, h("button", { type: "button", class: "nw-link", on: { click: () => { falls = at === column ? !falls : at !== 0; column = at; draw(); } } }, words)));
  const search = h("input", { type: "search", placeholder: "name, data, status …", "aria-label": "Search the runs", on: { input: () => draw() } });
  refill(el, h("header", { class: "nw-header" }, h("h1", {}, "Runs"), search),
    h("section", { class: "nw-card" }, said, h("div", { class: "nw-scroll nw-tall", tabindex: "0", role: "region", "aria-label": "Runs" }, h("table", { class: "nw-table nw-runs" }, h("thead", {}, h("tr", {}, ...heads)), body))));

  function draw() {
    const shown = chosenRuns(runs, search.value, column, falls);
    const hasExperiments = runs.some((run) => run.experiment);
    heads.forEach((head, at) => {
      head.setAttribute("aria-sort", at === column ? (falls ? "descending" : "ascending") : "none");
      head.hidden = at === COLUMNS.length - 1 && !hasExperiments;
      head.querySelector("button").textContent = `${COLUMNS[at][0]}${at === column ? (falls ? " ▾" : " ▴") : ""}`;
    });
    const cell = (/** @type {string} */ label, /** @type {string} */ words) => h("td", { "data-label": label }, words || null);
    refill(body, ...shown.map((run) => h("tr", {},
      h("th", { scope: "row" }, h("a", { href: `/run/${encodeURIComponent(run.id)}` }, visible(run.name || run.id.slice(0, 8), 60))),
      cell("begun", run.started ? run.started.slice(0, 16).replace("T", " ") : ""), cell("data", visible(run.data, 40)), cell("weights and biases", run.parameters === null ? "" : whole(run.parameters)),
      cell("result", run.result ? `${measureName(run.result.name)} ${figure(run.result.value, 4)}` : ""), cell("status", visible(run.status.replaceAll("_", " "), 24)),
      hasExperiments ? cell("experiment", run.experiment ? visible(run.experiment, 30) : "") : null)));
    const words = !runs.length ? (asking ? "" : "There are no runs yet: neuronwise train digits makes one. ") : shown.length === runs.length ? `${counted(runs.length, "run")}${content.limit && runs.length >= content.limit ? ", the newest; neuronwise ui RUN opens any other" : ""}. ` : `${whole(shown.length)} of ${counted(runs.length, "run")}. `;
    said.textContent = `${words}${asking ? "Asking the MLflow store …" : problem ? `The MLflow store could not be asked: ${visible(problem, 300)}` : ""}`;
  }

  draw();
  fetch("/runs.json").then(async (answer) => {
    if (!answer.ok) throw new Error(await answer.text());
    ({ runs, problem } = await answer.json());
  }).catch((error) => { problem = error.message; }).finally(() => { asking = false; draw(); });
}
