"""MNIST: test accuracy of two plain networks, and the seconds their training takes on one thread.

    python benchmarks/mnist.py --data FOLDER [--quick]

FOLDER holds the four IDX files; without it `NEURONWISE_DATA`, the cache or a download is used. Pixels are divided by
255, nothing else is done to them. All 60,000 training pictures are learned from for a fixed number of epochs, without
validation, schedule, weight decay or augmentation; the accuracy is that on the 10,000 test pictures after the last one.
Seconds are those of `fit` alone, its checks of the data included, reading the files not; one thread, one core.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from measuring import arguments, machine, pin, restart_clean, save, spread, table, timed

CASES: list[dict[str, Any]] = [
    {
        "sizes": [784, 16, 16, 10],
        "settings": {"optimizer": "adam", "learning_rate": 0.001, "batch_size": 32, "epochs": 8},
        "aims": {"accuracy_at_least": 0.95, "seconds_below": 2.0},
    },
    {
        "sizes": [784, 128, 64, 10],
        "settings": {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 32, "epochs": 20},
        "aims": {"accuracy_at_least": 0.98},
    },
]


def main() -> None:
    parser = arguments(__doc__, "mnist.json")
    parser.add_argument("--data", type=Path, help="folder with MNIST (default NEURONWISE_DATA, cache, download)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each network (default %(default)s)")
    options = parser.parse_args()
    restart_clean()
    pin()
    import numpy as np

    from neuronwise.data import mnist
    from neuronwise.learning import fit
    from neuronwise.network import Network

    data = mnist(options.data)
    X, y = data.images.reshape(-1, 784).astype(np.float32) / 255, data.labels
    assert data.test_images is not None
    X_test, y_test = data.test_images.reshape(-1, 784).astype(np.float32) / 255, data.test_labels
    if options.quick:
        X, y = X[:2_000], y[:2_000]
    result: dict[str, Any] = {
        "benchmark": "mnist",
        "command": "python benchmarks/mnist.py --data FOLDER",
        "quick": options.quick,
        "machine": machine(),
        "rows": len(X),
        "cases": [],
    }
    for case in CASES:
        settings = case["settings"] | ({"epochs": 1} if options.quick else {})
        trainings = []
        for seed in range(1 if options.quick else options.seeds):
            network = Network.dense(case["sizes"], hidden="relu", output="softmax", seed=seed)
            cpu, wall, _ = timed(lambda: fit(network, X, y, seed=seed, **settings))  # noqa: B023 - called at once
            accuracy = float((network.predict(X_test).argmax(axis=1) == y_test).mean())
            trainings.append({"seed": seed, "accuracy": accuracy, "cpu_s": cpu, "wall_s": wall})
            print(f"{case['sizes']} seed {seed}: {accuracy:.2%} in {wall:.2f} s ({cpu:.2f} s of CPU)", flush=True)
        result["cases"].append(summary(case, settings, trainings))
    print("\n" + as_table(result))
    save(result, options.out)


def summary(case: dict[str, Any], settings: dict[str, Any], trainings: list[dict[str, Any]]) -> dict[str, Any]:
    aims = case["aims"]
    accuracies, seconds = [t["accuracy"] for t in trainings], [t["wall_s"] for t in trainings]
    met = {"accuracy": min(accuracies) >= aims["accuracy_at_least"]}
    if "seconds_below" in aims:
        met["seconds"] = max(seconds) < aims["seconds_below"]
    return {
        "network": "-".join(map(str, case["sizes"])),
        "settings": settings,
        "aims": aims,
        "met_by_every_seed": met,
        "accuracy": spread(accuracies) | {"mean": statistics.mean(accuracies)},
        "wall_s": spread(seconds),
        "cpu_s": spread([t["cpu_s"] for t in trainings]),
        "trainings": trainings,
    }


def as_table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    rows = []
    for case in result["cases"]:
        s, a, t = case["settings"], case["accuracy"], case["wall_s"]
        how = f"{s['optimizer']}, rate {s['learning_rate']}, batch {s['batch_size']}, {s['epochs']} epochs"
        rows.append(
            [
                case["network"],
                how,
                f"**{a['mean']:.2%}** ({a['min']:.2%} to {a['max']:.2%})",
                f"**{t['median']:.2f}** ({t['min']:.2f} to {t['max']:.2f})",
                f"{case['cpu_s']['median']:.2f}",
                str(len(case["trainings"])),
            ]
        )
    header = [
        "network",
        "trained with",
        "test accuracy, mean (range)",
        "seconds of fit, median (range)",
        "CPU seconds",
        "seeds",
    ]
    return table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
