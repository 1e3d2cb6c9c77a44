"""Healthy and faulty PyTorch trainings, made up at random, to calibrate `neuronwise.diagnose` and to try it on others.

    python benchmarks/diagnosis_networks.py make FOLDER --count 200   # trains, watches, keeps; goes on where it stopped
    python benchmarks/diagnosis_networks.py score FOLDER              # diagnoses, prints figures

A training is drawn from its number: data, architecture, optimizer. Of each the healthy one is trained, and one or more
with a single fault put in. A pair counts only if the label is honest: the healthy one reaches a skill of 0.6 held out
(0 is a constant guess, 1 all right), and the fault costs three tenths of it at least. Numbers below 10,000 are for
calibration, the others are held out.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("OPENBLAS_CORETYPE", None)

import numpy as np

from diagnosis_faults import draw, faults
from diagnosis_trainings import run

HONEST_SKILL, HONEST_COST = 0.6, 0.3
HELD_FROM = 10_000


def make(folder: Path, first: int, count: int, per_net: int, seconds: float) -> None:
    """Train networks and keep their recordings, with labels beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    every = sorted({cause for number in range(40) for cause, _ in faults(draw(number), np.random.default_rng(0))})
    known_numbers = folder / "numbers.txt"
    done = set(known_numbers.read_text().split()) if known_numbers.exists() else set()
    with (folder / "labels.jsonl").open("a") as out, known_numbers.open("a") as taken:
        for number in range(first, first + count):
            if str(number) in done:
                continue
            if time.monotonic() - began > seconds:
                break
            case = draw(number)
            taken.write(f"{number}\n")
            taken.flush()
            try:
                healthy = run(case, folder / f"{number}-healthy")
            except (ValueError, RuntimeError) as error:
                print(number, error, file=sys.stderr)
                continue
            if healthy < HONEST_SKILL:
                continue
            out.write(json.dumps({"run": f"{number}-healthy", "number": number, "cause": "", "skill": healthy}) + "\n")
            g = np.random.default_rng([number, 11])
            known: dict[str, list[Any]] = collections.defaultdict(list)
            for cause, change in faults(case, g):
                known[cause].append(change)
            wanted = [every[(number * per_net + place) % len(every)] for place in range(per_net)]
            for cause in wanted:
                if not (changes := known.get(cause)):
                    continue
                change = changes[int(g.integers(len(changes)))]
                name = f"{number}-{cause}"
                try:
                    skill = run(case | change, folder / name)
                except (ValueError, RuntimeError, IndexError) as error:
                    print(name, error, file=sys.stderr)
                    continue
                cost = 1 - max(0.0, skill) / healthy
                if math.isnan(cost) or cost >= HONEST_COST:
                    row = {"run": name, "number": number, "cause": cause, "skill": skill, "change": change}
                    out.write(json.dumps(row) + "\n")
            out.flush()


def accepted(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the causes that are as right as the label: many layers of sigmoids are too deep, and of the wrong kind."""
    is_both = row["cause"] == "network_too_deep" and row["change"].get("activation") == "sigmoid"
    return ("wrong_hidden_activation",) if is_both else ()


def score(folder: Path, part: str, show: bool) -> None:
    """Diagnose what is kept and print how often that is right."""
    import neuronwise

    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    rows = [one for one in rows if (folder / one["run"] / "recording" / "recording.json").exists()]
    rows = [one for one in rows if part == "all" or (one["number"] < HELD_FROM) == (part == "calibration")]
    figures: collections.Counter[str] = collections.Counter()
    by_cause: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for row in rows:
        found = neuronwise.diagnose(neuronwise.open(folder / row["run"]))
        causes = [one.cause for one in found.findings]
        if not row["cause"]:
            figures["healthy"] += 1
            figures["false_alarms"] += bool(causes)
            if causes and show:
                print("alarm", row["run"], round(row["skill"], 2), causes, found.skill)
            continue
        figures["faulty"] += 1
        figures["detected"] += bool(causes)
        figures["first_right"] += causes[:1] == [row["cause"]]
        figures["first_accepted"] += bool(causes) and causes[0] in (row["cause"], *accepted(row))
        figures["in_set"] += row["cause"] in causes
        figures["named"] += len(causes)
        by_cause[row["cause"]][causes[0] if causes else "-"] += 1
        if show and causes[:1] != [row["cause"]]:
            print(row["run"], round(row["skill"], 2), causes, row["change"])
    print(dict(figures))
    faulty, healthy = max(1, figures["faulty"]), max(1, figures["healthy"])
    for name in ("detected", "first_right", "first_accepted", "in_set"):
        print(f"{name:16} {figures[name] / faulty:.1%}")
    print(f"{'false alarms':16} {figures['false_alarms'] / healthy:.1%}")
    print(f"{'causes named':16} {figures['named'] / faulty:.2f}")
    for cause, counts in sorted(by_cause.items()):
        print(f"{cause:28} {counts[cause]}/{sum(counts.values())}",
              ", ".join(f"{name} {count}" for name, count in counts.most_common() if name != cause))  # fmt: skip


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("make", "score"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--per-net", type=int, default=4, help="faults per network")
    parser.add_argument("--seconds", type=float, default=1e9, help="when to stop")
    parser.add_argument("--part", choices=("calibration", "held-out", "all"), default="all")
    parser.add_argument("--show", action="store_true", help="print what was named wrongly")
    args = parser.parse_args()
    if args.what == "make":
        make(args.folder, args.first, args.count, args.per_net, args.seconds)
    else:
        score(args.folder, args.part, args.show)


if __name__ == "__main__":
    main()
