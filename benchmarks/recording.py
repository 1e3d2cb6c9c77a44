"""What recording costs beside bare training and beside other tools, and how fast a recording is read.

    python benchmarks/recording.py [--quick]

All train 64,000 made rows of 784 inputs from the same first weights, in one process on one core.

*Cost*: bare training, the `RecordingWriter` as it is by default, and `numpy.save` of the weights every 500 steps; in a
race of their own, since it writes more than a gigabyte that the others would wait for, bare training and one with
statistics of the neurons at every step. Times are of the whole of `fit`, 100,000 steps with opening and closing of
the recording. In every round all train once, side by side: they take turns, an epoch each (`trainings.py`). Beside the
ratio of whole trainings stands the median of the ratios of single epochs, which leaves out rare work and rare
disturbances alike. First a file of 2 GB is written and deleted: a virtual machine may take ten times as long for memory
that it uses for the first time, and what is written to files lies in memory before it goes to the disk.

*Tools*: all do one task, that of `recorders.py`: the loss of every step and, every 500 steps, all weights and biases in
the form the tool offers. Seconds are those of a training of 2,500 steps less those of one of 500 steps, so that opening
and closing, which may take longer than the steps, do not count. One that is not installed is skipped, with a note (`pip
install '.[benchmarks]'` has them all). In every round, of three at most, each trains once, one after the other.

Ratios are taken within a round, whose order is new each time. CPU seconds count the processes that a tool started; wall
seconds also hold the waiting for the disk. At the end the weights of all kinds are compared: they must be those of bare
training to the last bit.

*Reading*: see `reading.py`. A recording of 100,000 steps, opened anew, is asked for random steps; one with 1,000 stored
states for the history of single weights. The files are in the memory of the system, as they are after training.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import arguments, machine, pin, restart_clean, save, spread, timed
from recording_report import (
    BARE,
    DEFAULT,
    LARGE,
    SMALL,
    SPACED,
    STATISTICS,
    aims_rows,
    aims_table,
    as_reading_table,
    as_table,
    as_tools_table,
    describe,
    footnote,
)

if TYPE_CHECKING:
    from trainings import Observers, Training

__all__ = ["aims_rows", "as_reading_table", "as_table", "as_tools_table", "footnote"]  # for quote.py

PLANNED = 100_000
EVERY = 500  # steps between the states that the tools keep: 200 in 100,000 steps
ROWS = 64_000

Trained = tuple[float, float, int, Any]  # CPU seconds, wall seconds, bytes written, parameters


def main() -> None:
    parser = arguments(__doc__, "recording.json")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case (default %(default)s)")
    parser.add_argument("--core", type=int, help="the core to measure on (default the last)")
    parser.add_argument("--again", action="store_true", help="measure default recording and seeks again, keep the rest")
    parser.add_argument("--every", action="store_true", help="measure statistics at every step again, keep the rest")
    options = parser.parse_args()
    restart_clean()
    pin(options.core)
    with tempfile.TemporaryDirectory(prefix="neuronwise-recording-") as folder:
        measure = measure_again if options.every or options.again else measure_all
        result = measure(options, Path(folder))
    tables = [as_table(result), as_tools_table(result), as_reading_table(result), aims_table(aims_rows(result))]
    print("\n" + "\n\n".join(tables))
    print("\n".join(["", *result["notes"]]))
    save(result, options.out)


def measure_all(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the result; files go to `folder`."""
    from reading import measure_history
    from recorders import environment, load_all
    from trainings import BATCHES, LEARNING_RATES, Training

    X, y = make_data(1_280 if options.quick else ROWS)
    planned, rounds = (40, 1) if options.quick else (PLANNED, options.rounds)
    result: dict[str, Any] = {
        "benchmark": "recording",
        "command": "python benchmarks/recording.py",
        "quick": options.quick,
        "machine": machine(),
        "rows": len(X),
        "planned_steps": planned,
        "cost": [],
        "seeks": [],
        "histories": [],
        "tools": [],
    }

    def fresh() -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=folder)

    touch_memory(folder, 10**7 if options.quick else 2 * 10**9)
    for network in BATCHES:
        for optimizer in LEARNING_RATES:
            training = Training(X, y, network, optimizer, planned)
            case = measure_cost(training, [BARE, DEFAULT, "numpy.save"], rounds, fresh)
            other = measure_cost(training, [BARE, STATISTICS], min(3, rounds), fresh)
            case["kinds"][STATISTICS] = other["kinds"][STATISTICS]
            result["cost"].append(case)
            print(f"cost, {describe(case)}", flush=True)
    result["seeks"] = measure_all_seeks(X, y, planned, 20 if options.quick else 200, fresh)
    for network in BATCHES:
        with fresh() as place:
            training = Training(X, y, network, "sgd", planned // 10)
            found = measure_history(training, Path(place), 1 if options.quick else 10, 50)
        result["histories"].append(found)
        print(f"history, {network}: {found['further_ms']} ms", flush=True)
    # Last, so that what these libraries load is not in the process before.
    os.environ.update(environment(folder))
    tools, result["notes"] = load_all(folder)
    result["machine"]["versions"] |= {kind.package: kind.version() for kind in tools.values()}
    result["machine"]["versions"] |= machine(["torch"])["versions"] if "TensorBoard" in tools else {}
    for network in [SMALL] if options.quick else BATCHES:
        case = measure_tools(X, y, network, tools, options, fresh)
        result["tools"].append(case)
        result["notes"] += case.pop("notes")
        print(f"tools, {describe(case)}", flush=True)
    result["aims"] = [{"aim": aim, "found": found, "met": met} for aim, found, met in aims_rows(result)]
    return result


def measure_all_seeks(X: Any, y: Any, planned: int, count: int, fresh: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return how long seeks take in recordings of three trainings."""
    from reading import measure_seeks
    from trainings import Training

    seeks = []
    for network, optimizer in ((SMALL, "sgd"), (LARGE, "sgd"), (LARGE, "adam")):
        with fresh() as place:
            found = measure_seeks(Training(X, y, network, optimizer, planned), Path(place), count)
        seeks.append(found)
        print(f"seek, {network}, {optimizer}: first {found['first_visit_ms']}, warm {found['warm_ms']}", flush=True)
    return seeks


def measure_again(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the last result with some of it measured again, and a note that says so.

    With ``--every`` that is statistics at every step; else default recording, `numpy.save` and seeks.
    """
    from trainings import BATCHES, LEARNING_RATES, Training

    kinds = [STATISTICS] if options.every else [DEFAULT, "numpy.save"]
    result: dict[str, Any] = json.loads(options.out.read_text())
    X, y = make_data(ROWS)
    touch_memory(folder, 2 * 10**9)
    cases = {(case["network"], case["optimizer"]): case for case in result["cost"]}

    def fresh() -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=folder)

    for network in BATCHES:
        for optimizer in LEARNING_RATES:
            training = Training(X, y, network, optimizer, PLANNED)
            found = measure_cost(training, [BARE, *kinds], options.rounds, fresh)
            # Of several kinds the bare training is the one beside which most of them were measured.
            cases[network, optimizer]["kinds"] |= {
                name: kind for name, kind in found["kinds"].items() if name != BARE or not options.every
            }
            print(f"cost, {describe(found)}", flush=True)
    told = "Statistics at every step were measured again"
    if not options.every:
        result["seeks"] = measure_all_seeks(X, y, PLANNED, 200, fresh)
        told = "Default recording, numpy.save and seeks were measured again"
    where = machine()
    note = f"{told} at {where['date']}, load average {where['load_before']} after it"
    result["notes"] = [one for one in result["notes"] if not one.startswith(told)] + [note]
    result["aims"] = [{"aim": aim, "found": found, "met": met} for aim, found, met in aims_rows(result)]
    return result


def make_data(rows: int) -> tuple[Any, Any]:
    """Return float32 inputs, one in five not 0 as in MNIST's pictures, and what a random linear map says of them."""
    from training import make_data

    return make_data([784, 10], rows)


def touch_memory(folder: Path, size: int) -> None:
    """Write a file of so many bytes, and delete it."""
    piece = bytes(10**6)
    with (folder / "memory").open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)
    (folder / "memory").unlink()


def measure_cost(training: Training, names: list[str], rounds: int, fresh: Callable[[], Any]) -> dict[str, Any]:
    """Return one case of what recording costs: the seconds of whole trainings of these kinds."""
    from neuronwise.files import folder_size_bytes
    from neuronwise.recording import RecordingWriter, read_recording
    from recorders import NumpySave
    from trainings import take_turns

    every: dict[str, Observers] = {
        BARE: lambda _: [],
        DEFAULT: lambda folder: [RecordingWriter(folder / "recording")],
        "numpy.save": lambda folder: [NumpySave(folder, EVERY)],
        STATISTICS: lambda folder: [RecordingWriter(folder / "recording", statistics_every=1)],
    }
    kinds = {name: make for name, make in every.items() if name in names}
    states: dict[str, int] = {}
    epochs: dict[str, list[float]] = {name: [] for name in kinds}

    def one_round(shuffler: random.Random) -> dict[str, Trained]:
        with contextlib.ExitStack() as stack:
            places = {name: Path(stack.enter_context(fresh())) for name in kinds}
            trainings = {
                name: lambda turn, make=make, place=places[name]: training.train(lambda _: [*make(place), turn], place)
                for name, make in kinds.items()
            }
            turns = take_turns(trainings, shuffler)
            for name in kinds.keys() & {DEFAULT, STATISTICS}:
                states[name] = len(read_recording(places[name] / "recording").steps)
            for name, turn in turns.items():
                epochs[name] += [a / b for a, b in zip(turn.cpu_s[:-1], turns[BARE].cpu_s[:-1], strict=True)]
            return {
                name: (sum(turn.cpu_s), sum(turn.wall_s), folder_size_bytes(places[name]), turn.result)
                for name, turn in turns.items()
            }

    training.train(kinds[BARE], Path())  # warms up
    case = race(training.description | {"steps": training.steps}, rounds, one_round)
    for name, kind in case["kinds"].items():
        kind["ratio_of_epochs_cpu"] = spread(epochs[name])
        kind["keyframes"] = states.get(name, "")
    return case


def measure_tools(
    X: Any, y: Any, network: str, tools: dict[str, Any], options: argparse.Namespace, fresh: Callable[[], Any]
) -> dict[str, Any]:
    """Return one case of the tools: seconds of the steps that the longer of two trainings has more.

    A tool that fails is left out, with a note under ``notes``.
    """
    from neuronwise.files import folder_size_bytes
    from neuronwise.recording import RecordingWriter
    from trainings import Training

    rows, every = (320, 10) if options.quick else (ROWS // 4, EVERY)
    short, long = (Training(X[:rows], y[:rows], network, "sgd", factor * every) for factor in (1, 5))
    kinds: dict[str, Observers] = {
        BARE: lambda _: [],
        SPACED: lambda folder: [RecordingWriter(folder / "recording", keyframe_every=every)],
    }
    kinds |= {name: lambda folder, kind=kind: [kind(folder, every)] for name, kind in tools.items()}

    def one(name: str) -> Trained:
        with fresh() as place:
            short_cpu, short_wall, _ = timed(lambda: short.train(kinds[name], Path(place)))
        with fresh() as place:
            everything = Path(place).parent  # MLflow keeps its runs in one place
            before = folder_size_bytes(everything)
            cpu, wall, parameters = timed(lambda: long.train(kinds[name], Path(place)))
            return cpu - short_cpu, wall - short_wall, folder_size_bytes(everything) - before, parameters

    def one_round(shuffler: random.Random) -> dict[str, Trained]:
        found = {name: one(name) for name in shuffler.sample(list(kinds), len(kinds))}
        return {name: found[name] for name in kinds}

    notes = []
    for name in tools:
        try:
            with fresh() as place:
                short.train(kinds[name], Path(place))  # warms up, the libraries first of all
        except Exception as error:  # noqa: BLE001 - whatever one tool fails at, the others are measured
            notes.append(f"{name} failed on {network}: {type(error).__name__}: {error}")
            del kinds[name]
    case = race(
        long.description | {"steps": long.steps - short.steps, "notes": notes},
        1 if options.quick else min(3, options.rounds),
        one_round,
    )
    for name, kind in case["kinds"].items():
        kind["weights"] = tools[name].weights if name in tools else "values"
    return case


def race(case: dict[str, Any], rounds: int, one_round: Callable[[random.Random], dict[str, Trained]]) -> dict[str, Any]:
    """Let every kind train once in each round, and return seconds, ratios to bare training and whether bits agree."""
    import numpy as np

    times: dict[str, dict[str, list[float]]] = {}
    shuffler = random.Random(0)
    for number in range(rounds):
        trained = one_round(shuffler)
        for name, (cpu, wall, _, _) in trained.items():
            clocks = times.setdefault(name, {"cpu": [], "wall": []})
            clocks["cpu"].append(cpu)
            clocks["wall"].append(wall)
        print(f"  round {number + 1} of {rounds}", flush=True)
    kinds: dict[str, Any] = {}
    for name, found in times.items():
        kinds[name] = {f"{clock}_s": spread(values) for clock, values in found.items()}
        kinds[name]["same_weights"] = bool(np.array_equal(trained[name][3], trained[BARE][3]))
        kinds[name]["bytes"] = trained[name][2]
        for clock, values in found.items():
            ratios = [a / b for a, b in zip(values, times[BARE][clock], strict=True)]
            kinds[name][f"ratio_{clock}"] = spread(ratios) | {"rounds": ratios}
    return case | {"rounds": rounds, "kinds": kinds}


if __name__ == "__main__":
    sys.exit(main())
