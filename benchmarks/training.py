"""Microseconds per optimizer step of Neuronwise and of what one would use instead, beside what the hardware allows.

    python benchmarks/training.py [--quick]

A step is all that a training does for one mini-batch: gather its rows in shuffled order, forward, loss, backward,
update. The contenders are those of `contenders.py`; one that is not installed is skipped, with a note (`pip install
'.[benchmarks]'` has them all). All get the same float32 rows, batch size, optimizer and rate.

Each is a process of its own with one thread, without what tunes OpenBLAS, all on the same core, and only one works at
a time. In every round each does one block in turn, in a new order; a block is a training of 1 + k epochs less a
training of 1 epoch, so that checks, set-up and compilation, which come once per training, do not count. Reported are
medians over the rounds, and the median, smallest and largest of the ratios within a round. The hardware's bound is
that of `bound.py`.
"""

# ruff: noqa: D102 - the methods of a script need no docstring where their name says it

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import bound
from contenders import CONTENDERS, Contender, mean_loss
from measuring import (
    Worker,
    arguments,
    machine,
    pin,
    save,
    serve,
    spread,
    start_workers,
    table,
    timed,
)

NETWORKS = ((784, 16, 16, 10), (784, 128, 64, 10), (784, 512, 512, 10), (30, 64, 64, 1))
BATCHES = (10, 32, 128, 512)
OPTIMIZERS = ("sgd", "adam")
LEARNING_RATES = {"sgd": 0.05, "adam": 0.001}
NOISE = 0.03
RIVALS = ("torch", "scikit-learn")  # never to be slower than these
AIMS = {"mean_ratio_to_torch": 3.0, "times_the_bound": 1.7, "times_plain_numpy": 1.1}
STEP_AIMS = {"784-16-16-10, 32, sgd": {"torch": 4.0, "scikit-learn": 3.5}}  # times as fast as these
NEAR_THE_BOUND = ("784-128-64-10", 128)  # this network from this batch size on


def main() -> None:
    parser = arguments(__doc__, "training.json")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.15, help="least length of a block (default %(default)s)")
    parser.add_argument("--core", type=int, help="the core to measure on (default the last)")
    parser.add_argument("--only", default="", help="only cases whose name holds this, like '784-128-64-10, 128'")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="names, between commas (default all)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    cases = list(itertools.product(NETWORKS, BATCHES, OPTIMIZERS))
    if options.quick:
        cases, options.rounds, options.seconds = [cases[2], cases[-5]], 1, 0.0
    chosen = [name for name in CONTENDERS if name in options.contenders.split(",")]
    workers, notes = start_workers(__file__, chosen, options.core)
    measurer = Worker(__file__, {"contender": None, "core": options.core})
    result: dict[str, Any] = {
        "benchmark": "training",
        "command": "python benchmarks/training.py",
        "quick": options.quick,
        "machine": machine([CONTENDERS[name].package for name in workers]),
        "notes": notes,
        "learning_rates": LEARNING_RATES,
        "cases": [],
    }
    seconds = 0.01 if options.quick else 1.0
    hardware = measurer.ask(seconds=seconds)
    print("\n".join([*notes, f"{result['machine']['cpu']}, {result['machine']['versions']}"]))
    print(json.dumps(hardware), flush=True)
    try:
        for sizes, batch, optimizer in cases:
            task = {"sizes": list(sizes), "batch": batch, "optimizer": optimizer, "seconds": options.seconds}
            task["rows"] = 2_560 if options.quick else rows_of(sizes, batch)
            case: dict[str, Any] = {"network": network_name(sizes), "batch": batch, "optimizer": optimizer}
            if options.only in name_of(case):
                case |= measure(workers, task, options.rounds)
                result["cases"].append(case)
                print(describe(case), flush=True)
        result["hardware"] = bound.best(hardware, measurer.ask(seconds=seconds))  # others may have kept it busy once
    finally:
        for worker in (*workers.values(), measurer):
            worker.close()
    for case in result["cases"]:
        sizes = [int(n) for n in case["network"].split("-")]
        case["bound_us"] = bound.bound_us(result["hardware"], sizes, case["batch"], case["optimizer"])
    if "neuronwise" in workers:
        result |= summary(result["cases"])
    print("\n" + as_table(result))
    print("\n" + json.dumps({key: result.get(key) for key in ("means", "slower_than_a_rival", "aims")}, indent=1))
    save(result, options.out)


def rows_of(sizes: Sequence[int], batch: int) -> int:
    """Return how many rows are trained on: fewer where steps are many and long; every batch size divides them."""
    if sizes[1] == 16 or sizes[0] == 30:
        return 20_480
    return 10_240 if sizes[1] == 128 or batch == 512 else 5_120 if batch == 128 else 2_560


def network_name(sizes: Iterable[int]) -> str:
    return "-".join(map(str, sizes))


def name_of(case: dict[str, Any]) -> str:
    return f"{case['network']}, {case['batch']}, {case['optimizer']}"


def measure(workers: dict[str, Worker], task: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Return microseconds per step of every contender in every round, and their ratios."""
    losses = {name: worker.ask(prepare=task)["loss"] for name, worker in workers.items()}
    times: dict[str, dict[str, list[float]]] = {name: {"cpu_us": [], "wall_us": []} for name in workers}
    order, shuffler = list(workers), random.Random(0)
    for _ in range(rounds):
        shuffler.shuffle(order)
        for name in order:
            for key, value in workers[name].ask().items():
                times[name][key].append(value)
    found: dict[str, Any] = {"rows": task["rows"]}
    found["contenders"] = {
        name: {
            "cpu_us": spread(values["cpu_us"]),
            "wall_us": spread(values["wall_us"]),
            "loss_after_2_epochs": losses[name],
            "rounds_cpu_us": values["cpu_us"],
        }
        for name, values in times.items()
    }
    ours = times.get("neuronwise")
    found["ratios"] = {
        name: {key: spread([a / b for a, b in zip(times[name][key], ours[key], strict=True)]) for key in ours}
        for name in workers
        if ours is not None and name != "neuronwise"
    }
    return found


def describe(case: dict[str, Any]) -> str:
    texts = [f"{name} {values['cpu_us']['median']:.4g}" for name, values in case["contenders"].items()]
    ratios = [f"{r['cpu_us']['median']:.2f}" for r in case["ratios"].values()]
    return f"{name_of(case):>26}: {', '.join(texts)}; ratios {' '.join(ratios)}"


def ratio(case: dict[str, Any], name: str) -> float:
    """Return how many times as long as ours the step of another contender takes."""
    found: float = case["ratios"][name]["cpu_us"]["median"]
    return found


def geometric_mean(ratios: list[float]) -> float:
    """Return the geometric mean; NaN where a difference of times was lost in noise, as in a few steps it may be."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if min(ratios) > 0 else math.nan


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return geometric means of the ratios, the cases in which a rival is faster, and how the aims were met."""
    names = list(cases[0]["ratios"])
    means = {name: geometric_mean([ratio(case, name) for case in cases]) for name in names}
    slower = [
        {"case": name_of(case), "rival": name, "ratio": ratio(case, name)}
        for case in cases
        for name in RIVALS
        if name in names and ratio(case, name) < 1 - NOISE
    ]
    steps = [
        {"case": name_of(case), "rival": name, "aim": goal, "ratio": case["ratios"][name]["cpu_us"]}
        for case in cases
        for name, goal in STEP_AIMS.get(name_of(case), {}).items()
        if name in names
    ]
    network, least = NEAR_THE_BOUND
    near = {
        name_of(case): case["contenders"]["neuronwise"]["cpu_us"]["median"] / case["bound_us"]
        for case in cases
        if case["network"] == network and case["batch"] >= least
    }
    aims: dict[str, Any] = {"never_slower": {"found": len(slower), "met": not slower}}
    if "torch" in names:
        goal = AIMS["mean_ratio_to_torch"]
        aims["mean_ratio_to_torch"] = {"aim": goal, "found": means["torch"], "met": means["torch"] >= goal}
    if near:
        goal = AIMS["times_the_bound"]
        aims["times_the_bound"] = {"aim": goal, "found": spread(list(near.values())), "met": max(near.values()) <= goal}
    if "plain NumPy" in names:
        goal, worst = AIMS["times_plain_numpy"], 1 / min(ratio(case, "plain NumPy") for case in cases)
        aims["times_plain_numpy"] = {
            "aim": goal,
            "found": {"mean": 1 / means["plain NumPy"], "max": worst},
            "met": worst <= goal,
        }
    return {
        "means": means,
        "slower_than_a_rival": slower,
        "times_the_bound": near,
        "aims": aims | {"single_steps": [one | {"met": one["ratio"]["median"] >= one["aim"]} for one in steps]},
    }


def as_table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    names = [name for name in CONTENDERS if any(name in case["contenders"] for case in result["cases"])]
    rows = []
    for case in result["cases"]:
        times = [number(case["contenders"][name]["cpu_us"]["median"]) for name in names]
        ratios = [f"{ratio(case, name):.2f}" for name in names if name in case["ratios"]]
        rows.append([name_of(case), number(case["bound_us"]), *times, *ratios])
    others = [name for name in names if name != "neuronwise"]
    if "means" in result:
        blank = [""] * (1 + len(names))
        rows.append(["**geometric mean**", *blank, *(f"**{result['means'][name]:.2f}**" for name in others)])
    return table(["network, batch, optimizer", "bound", *names, *(f"{name} / ours" for name in others)], rows)


def number(value: float) -> str:
    """Return three or more digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def footnote(result: dict[str, Any]) -> str:
    """Return what the bound was computed from."""
    hardware = result["hardware"]
    peak, numpy = hardware["peak"], hardware["peak_numpy"]
    fastest = f"{peak['flops_per_s'] / 1e9:.0f} GFLOP/s ({peak['by']}, {' × '.join(map(str, peak['product']))}"
    return (
        f"The bound is computed from the fastest product measured, {fastest}; NumPy's fastest: "
        f"{numpy['flops_per_s'] / 1e9:.0f}), {hardware['bandwidth_bytes_per_s'] / 1e9:.1f} GB/s of copying, and an L2 "
        f"cache of {hardware['cache_bytes'] / 2**20:g} MiB."
    )


def aims_rows(result: dict[str, Any]) -> list[list[Any]]:
    """Return each aim, what was found, and whether it was met."""
    rows, aims = [], result["aims"]
    worst = ", ".join(f"{s['case']}: {s['rival']} {s['ratio']:.2f}" for s in result["slower_than_a_rival"])
    never = f"a step never slower than torch's or scikit-learn's, beyond {NOISE:.0%} of noise"
    rows.append([never, worst or f"in none of {len(result['cases'])} cases", aims["never_slower"]["met"]])
    for one in aims["single_steps"]:
        times = f"{one['ratio']['median']:.2f} times ({one['ratio']['min']:.2f} to {one['ratio']['max']:.2f})"
        rows.append([f"step of {one['case']}: {one['aim']} times as fast as {one['rival']}", times, one["met"]])
    if found := aims.get("mean_ratio_to_torch"):
        what = f"geometric mean of all steps: {found['aim']:g} times as fast as torch"
        rows.append([what, f"{found['found']:.2f} times", found["met"]])
    if found := aims.get("times_the_bound"):
        what = f"step of {NEAR_THE_BOUND[0]} from batch {NEAR_THE_BOUND[1]} on: within {found['aim']:g} times the bound"
        rows.append([what, f"{found['found']['min']:.2f} to {found['found']['max']:.2f} times", found["met"]])
    if found := aims.get("times_plain_numpy"):
        what = f"no step above {found['aim']:g} times that of plain NumPy"
        rows.append([what, f"mean {found['found']['mean']:.2f}, at most {found['found']['max']:.2f}", found["met"]])
    return rows


# --- the side of the contenders


def work(task: dict[str, Any]) -> None:
    """Be a contender (or, without a name, measure the hardware) until no request comes any more."""
    pin(task["core"])
    if task["contender"] is None:
        serve({}, lambda request: bound.measure(request["seconds"]))
        return
    kind = CONTENDERS[task["contender"]]
    try:
        kind.load()
    except ImportError as error:
        serve({"missing": str(error)}, lambda request: {})
        return
    desk = Desk(kind)
    serve({"version": kind.version()}, desk.answer)


class Desk:
    """A contender's answers: to `prepare` the loss after two epochs, to all else the times of a block."""

    def __init__(self, kind: type[Contender]) -> None:
        self.kind, self.data = kind, {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.prepare(**request["prepare"]) if "prepare" in request else self.block()

    def prepare(self, sizes: list[int], batch: int, optimizer: str, rows: int, seconds: float) -> dict[str, Any]:
        key = (sizes[0], sizes[-1], rows)
        if key not in self.data:
            self.data = {key: make_data(sizes, rows)}
        X, y = self.data[key]
        self.contender = self.kind(X, y, sizes, batch, optimizer, LEARNING_RATES[optimizer])
        self.contender.train(1)
        _, wall, _ = timed(lambda: self.contender.train(2))
        self.epochs, self.steps = max(1, math.ceil(seconds / (wall / 2))), rows // batch
        return {"loss": mean_loss(self.contender.outputs(X), y)}

    def block(self) -> dict[str, Any]:
        k = self.epochs
        cpu_1, wall_1, _ = timed(lambda: self.contender.train(1))
        cpu_k, wall_k, _ = timed(lambda: self.contender.train(1 + k))
        return {
            "cpu_us": (cpu_k - cpu_1) / k / self.steps * 1e6,
            "wall_us": (wall_k - wall_1) / k / self.steps * 1e6,
        }


def make_data(sizes: list[int], rows: int) -> tuple[Any, Any]:
    """Return float32 inputs, one in five not 0 as in MNIST's pictures, and what a random linear map says of them."""
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.random((rows, sizes[0]), dtype=np.float32) * (rng.random((rows, sizes[0]), dtype=np.float32) < 0.2)
    outputs = (X - X.mean(axis=0)) @ rng.standard_normal((sizes[0], sizes[-1])).astype(np.float32)
    if sizes[-1] > 1:
        return X, outputs.argmax(axis=1)
    return X, outputs / outputs.std()


if __name__ == "__main__":
    sys.exit(main())
