"""Explaining over a whole data set: seconds and memory of every function that looks at all rows.

    python benchmarks/explaining.py [--data FOLDER] [--rows 60000] [--quick]

The network is 784-512-512-10, trained for one epoch. The rows are MNIST's 60,000 training pictures where the folder
FOLDER (or that which `NEURONWISE_DATA` names) holds them; else as many made ones of the same size: each class a blot
of its own, moved and covered with noise.

Each function runs in a process of its own, once. *Seconds* are those of the call, without loading data and network.
*Peak* is the largest memory of the whole process (VmHWM of /proc/self/status), libraries, network and data included;
*added* is by how much that is more than before the call. The aim counts the peak without the data itself, which a
caller has anyway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import arguments, clean_environment, machine, pin, restart_clean, save, table, timed

AIMS = {"peak_without_data_below_bytes": 1_000_000_000, "slowest_below_s": 60.0}
LAYERS = (512, 512)


def main() -> None:
    parser = arguments(__doc__, "explaining.json")
    parser.add_argument("--data", type=Path, help="folder with mnist/, or MNIST's files themselves")
    parser.add_argument("--rows", type=int, default=60_000, help="rows, at most (default %(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="measure this function only; may be repeated")
    parser.add_argument("--worker", nargs=2, metavar=("NAME", "FOLDER"), help="one measured process")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(*options.worker)))
        return
    restart_clean()
    rows = 1_000 if options.quick else options.rows
    layers = (32, 32) if options.quick else LAYERS
    result: dict[str, Any] = {
        "benchmark": "explaining",
        "command": "python benchmarks/explaining.py",
        "quick": options.quick,
        "machine": machine(["scikit-learn"]),
        "network": "-".join(map(str, (784, *layers, 10))),
        "aims": AIMS,
        "cases": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        result |= prepare(Path(folder), options.data, rows, layers)
        print(f"{result['data']}: {result['rows']:,} rows; {result['network']} is right on {result['accuracy']:.1%}")
        for name in options.only or TASKS:
            command = [sys.executable, __file__, "--worker", name, folder]
            done = subprocess.run(command, env=clean_environment(), stdout=subprocess.PIPE, text=True, check=True)
            case = {"name": name} | json.loads(done.stdout.splitlines()[-1])
            result["cases"].append(case)
            print(f"{name}: {case['wall_s']:.1f} s, peak {case['peak_bytes'] / 1e6:.0f} MB", flush=True)
    result["met"] = met(result)
    print("\n" + as_table(result))
    save(result, options.out)


def prepare(folder: Path, data: Path | None, rows: int, layers: tuple[int, ...]) -> dict[str, Any]:
    """Write rows and a trained network, with its states after some steps, into a folder; return what they are."""
    import numpy as np

    from neuronwise.learning import Observer, TrainingState, fit
    from neuronwise.network import Network

    name, X, y = read(data, rows)
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    network = Network.dense([784, *layers, 10], output="softmax")

    class Keep(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            if state.step in STATES:
                state.network.save(folder / f"step{state.step}")

    fit(network, X, y, epochs=1, observers=[Keep()])
    network.save(folder / "network")
    right = float((network.predict(X).argmax(axis=1) == y).mean())
    return {"data": name, "rows": len(X), "array_bytes": X.nbytes, "accuracy": right}


STATES = (1, 10, 30)


def read(data: Path | None, rows: int) -> tuple[str, Any, Any]:
    """Return MNIST's training pictures as rows from 0 to 1 with their classes, or made ones."""
    import numpy as np

    from neuronwise.data import mnist
    from neuronwise.errors import NeuronwiseError

    if data is not None:
        os.environ["NEURONWISE_DATA"] = str(data)
    if "NEURONWISE_DATA" in os.environ:
        try:
            found = mnist(download=False)
        except NeuronwiseError as error:
            print(f"made rows are taken: {error}", file=sys.stderr)
        else:
            images = found.images[:rows].reshape(-1, 784)
            return "MNIST", images.astype(np.float32) / np.float32(255), found.labels[:rows]
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, rows)
    row, column = np.mgrid[0:28, 0:28]
    turn = y * (2 * np.pi / 10)
    centre = np.stack([14 + 7 * np.sin(turn), 14 + 7 * np.cos(turn)], axis=1) + rng.normal(0, 1, (rows, 2))
    X = np.empty((rows, 784), np.float32)
    for start in range(0, rows, 5_000):
        part = slice(start, start + 5_000)
        away = (row - centre[part, 0, None, None]) ** 2 + (column - centre[part, 1, None, None]) ** 2
        X[part] = (np.exp(-away / 12) + rng.normal(0, 0.1, away.shape)).clip(0, 1).reshape(len(away), 784)
    return "made", X, y


def work(name: str, folder: str) -> dict[str, Any]:
    """Call one function in this process and return what it took."""
    import numpy as np

    from neuronwise.data import PixelEncoder
    from neuronwise.explaining import Meaning
    from neuronwise.network import Network

    pin()
    X, y = np.load(Path(folder) / "X.npy"), np.load(Path(folder) / "y.npy")
    network = Network.load(Path(folder) / "network")
    states = [(int(one.name[4:]), Network.load(one)) for one in Path(folder).glob("step*")]
    given = Given(network, X, y, Meaning.of(network, PixelEncoder((28, 28))), sorted(states, key=lambda one: one[0]))
    before = peak()
    cpu, wall, told = timed(lambda: TASKS[name](given))
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "peak_bytes": peak(),
        "added_bytes": peak() - before,
        "headline": str(told).splitlines()[0],
    }


class Given:
    """What every function gets."""

    def __init__(self, network: Any, X: Any, y: Any, meaning: Any, states: list[tuple[int, Any]]) -> None:
        self.network, self.X, self.y, self.meaning, self.states = network, X, y, meaning, states


def _important(given: Given) -> Any:
    from neuronwise.explaining import rank_neurons

    return rank_neurons(given.network, given.X, given.y, "hidden1", meaning=given.meaning)


def _features(given: Given) -> Any:
    from neuronwise.explaining import feature_importance

    return feature_importance(given.network, given.X, given.y, meaning=given.meaning)


def _detects(neuron: str) -> Callable[[Given], Any]:
    def call(given: Given) -> Any:
        from neuronwise.explaining import detects

        return detects(given.network, neuron, given.X, given.y, meaning=given.meaning)

    return call


def _neurons(given: Given) -> Any:
    from neuronwise.explaining import layer_neurons

    return layer_neurons(given.network, "hidden2", given.X, given.y, meaning=given.meaning)


def _adds(given: Given) -> Any:
    from neuronwise.explaining import what_layers_add

    held = len(given.X) // 6
    X, y = given.X, given.y
    return what_layers_add(given.network, X[held:], y[held:], X[:held], y[:held], meaning=given.meaning)


def _unlearned(given: Given) -> Any:
    from neuronwise.explaining import what_is_not_learned

    networks = [*given.states, (given.states[-1][0] + 1, given.network)]
    return what_is_not_learned(networks, given.X, given.y, meaning=given.meaning)


def _patterns(given: Given) -> Any:
    from neuronwise.explaining import deep_patterns

    return deep_patterns(given.network, "hidden2", given.X, meaning=given.meaning)


def _edges(given: Given) -> Any:
    from neuronwise.explaining import find_edges

    return find_edges(given.network, meaning=given.meaning)


def _maps(given: Given) -> Any:
    import numpy as np

    from neuronwise.explaining import feature_maps

    picture = np.random.default_rng(0).random((512, 512))
    return feature_maps(given.network, picture, meaning=given.meaning)


def _atlas(given: Given) -> Any:
    from neuronwise.explaining import atlas

    return atlas(given.network, given.X, given.y, meaning=given.meaning)


TASKS: dict[str, Callable[[Given], Any]] = {
    "rank_neurons, hidden1": _important,
    "feature_importance": _features,
    "detects, hidden1[0]": _detects("hidden1[0]"),
    "detects, hidden2[0]": _detects("hidden2[0]"),
    "layer_neurons, hidden2": _neurons,
    "what_layers_add": _adds,
    "what_is_not_learned, 4 steps": _unlearned,
    "deep_patterns, hidden2": _patterns,
    "find_edges": _edges,
    "feature_maps of 512 × 512 pixels": _maps,
    "atlas": _atlas,
}


def peak() -> int:
    """Return the largest memory of this process so far, in bytes (Linux)."""
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def met(result: dict[str, Any]) -> dict[str, bool]:
    data = result["array_bytes"]
    return {
        "peak": all(case["peak_bytes"] - data < AIMS["peak_without_data_below_bytes"] for case in result["cases"]),
        "seconds": all(case["wall_s"] < AIMS["slowest_below_s"] for case in result["cases"]),
    }


def as_table(result: dict[str, Any]) -> str:
    rows = [
        [
            case["name"],
            f"{case['wall_s']:.1f}",
            f"{case['cpu_s']:.1f}",
            f"{case['peak_bytes'] / 1e6:,.0f}",
            f"{case['added_bytes'] / 1e6:,.0f}",
        ]
        for case in result["cases"]
    ]
    return table(["function", "seconds", "CPU seconds", "peak, MB", "added, MB"], rows)


if __name__ == "__main__":
    main()
