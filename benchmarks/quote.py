"""Put the tables of the last results into docs/performance.md, between ``<!-- table: NAME -->`` and ``<!-- end -->``.

    python benchmarks/quote.py [--check]

With ``--check`` nothing is written; the exit code is 1 if the page does not hold the results of benchmarks/results.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from typing import Any

from measuring import RESULTS
from recording_report import aims_table

# Tables that are not `as_table` of the benchmark they are named after: which benchmark, and which of its functions.
OTHERS = {
    "mnist_convolution": ("mnist_race", "as_convolution_table"),
    "recording_tools": ("recording", "as_tools_table"),
    "recording_reading": ("recording", "as_reading_table"),
}
# Results of a benchmark of another name.
BENCHMARKS = {"watching_gpu": "watching"}
PAGE = RESULTS.parent.parent / "docs" / "performance.md"
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    options = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    after = _MARKED.sub(lambda mark: f"{mark[1]}{quoted(mark[2])}\n{mark[3]}", before)
    if options.check:
        print("up to date" if after == before else "docs/performance.md differs: run python benchmarks/quote.py")
        return int(after != before)
    PAGE.write_text(after, encoding="utf-8")
    return 0


def load(name: str) -> dict[str, Any]:
    """Return the last result of one benchmark."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def quoted(name: str) -> str:
    """Return the table of one benchmark, with where and when it was measured, or that of all aims."""
    if name == "aims":
        return f"\n{aims()}\n"
    benchmark, function = OTHERS.get(name, (name, "as_table"))
    result = load(benchmark)
    where = result["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in where["versions"].items())
    note = (
        f"`{result['command']}`, {where['date']}: {where['cpu']}, {where['cores']} cores, "
        f"{result['device'] + ', ' if result.get('device', 'cpu') != 'cpu' else ''}{where['system']}, Python "
        f"{where['python']}, {versions}, {where['blas']}; load average "
        f"{where['load_before']} before, {where['load_after']} after."
    )
    module = importlib.import_module(BENCHMARKS.get(benchmark, benchmark))
    if function == "as_table" and hasattr(module, "footnote"):
        note = f"{module.footnote(result)}\n\n{note}".lstrip()
    return f"\n{getattr(module, function)(result)}\n\n{note}\n"


def aims() -> str:
    """Return each aim beside what was found."""
    rows = importlib.import_module("training").aims_rows(load("training"))
    for case in load("mnist")["cases"]:
        accuracy, seconds, goal = case["accuracy"], case["wall_s"], case["aims"]
        found = f"{accuracy['min']:.2%} to {accuracy['max']:.2%}"
        met = case["met_by_every_seed"]
        rows.append([f"MNIST {case['network']}: {goal['accuracy_at_least']:.0%}", found, met["accuracy"]])
        if "seconds_below" in goal:
            found = f"{seconds['min']:.2f} to {seconds['max']:.2f} s ({case['cpu_s']['median']:.2f} s of CPU)"
            rows.append([f"MNIST {case['network']}: under {goal['seconds_below']:g} s of fit", found, met["seconds"]])
    convolution = load("mnist_race")["convolution"]
    accuracy = convolution["contenders"]["neuronwise"]["accuracy"]
    rows.append(
        [
            f"MNIST, convolutional network of 8 and 16 filters: {convolution['aim']:.0%}",
            f"{accuracy['min']:.2%} to {accuracy['max']:.2%}",
            convolution["met"],
        ]
    )
    houses = load("houses")
    goal, means, met = houses["aims"], houses["means"], houses["met"]
    ours, linear = means["neuronwise"], means["linear regression"]
    splits = len(houses["splits"])
    rows += [
        [f"houses: R² of log price {goal['r2_log_at_least']}, mean", f"{ours['r2_log']:.4f}", met["r2_log"]],
        [
            f"houses: median error {goal['median_percent_error_at_most']} % or less, mean",
            f"{ours['median_percent_error']:.2f} %",
            met["median_percent_error"],
        ],
        [
            f"houses: better than linear regression on each of {splits} splits, by both measures",
            f"means {ours['r2_log']:.4f} against {linear['r2_log']:.4f}, "
            f"{ours['median_percent_error']:.2f} % against {linear['median_percent_error']:.2f} %",
            met["above_linear_regression_on_each_split"],
        ],
        [
            f"houses: under {goal['seconds_below']:g} s a split",
            f"{houses['wall_s']['min']:.1f} to {houses['wall_s']['max']:.1f} s",
            met["seconds_of_each_split"],
        ],
    ]
    rows += importlib.import_module("recording").aims_rows(load("recording"))
    rows += importlib.import_module("mlflow_away").aims_rows(load("mlflow_away"))
    rows += importlib.import_module("watching").aims_rows(load("watching"))
    return aims_table(rows)


if __name__ == "__main__":
    sys.exit(main())
