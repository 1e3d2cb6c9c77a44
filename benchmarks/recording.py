"""What recording costs: the same training with and without a `RecordingWriter`.

    python benchmarks/recording.py [--quick]

Both train 60,000 made rows of 784 inputs. In every round each kind trains once, in a new order, in one process on one
core. Both times are given: CPU seconds, and wall seconds, which also hold the waiting for the disk. The weights of both
are compared: they must be the same to the last bit.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import arguments, machine, pin, restart_clean, save, spread, table, timed

# Sizes, batch size, epochs.
CASES = [([784, 16, 16, 10], 32, 10), ([784, 128, 64, 10], 128, 4)]


def main() -> None:
    parser = arguments(__doc__, "recording.json")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each case (default %(default)s)")
    options = parser.parse_args()
    restart_clean()
    pin()
    import numpy as np

    rows = 1_000 if options.quick else 60_000
    rng = np.random.default_rng(0)
    X = rng.random((rows, 784), dtype=np.float32)
    X *= rng.random((rows, 784), dtype=np.float32) < 0.2
    y = ((X - X.mean(axis=0)) @ rng.standard_normal((784, 10)).astype(np.float32)).argmax(axis=1)
    result: dict[str, Any] = {
        "benchmark": "recording",
        "command": "python benchmarks/recording.py",
        "quick": options.quick,
        "machine": machine(),
        "rows": rows,
        "cases": [],
    }
    for sizes, batch, epochs in CASES:
        case = measure(X, y, sizes, batch, 1 if options.quick else epochs, 1 if options.quick else options.rounds)
        result["cases"].append(case)
        print(f"{case['network']} batch {batch}: {case['ratio_cpu']['median']:.4f} of the CPU time", flush=True)
    print("\n" + as_table(result))
    save(result, options.out)


def measure(X: Any, y: Any, sizes: list[int], batch: int, epochs: int, rounds: int) -> dict[str, Any]:
    """Return one case: seconds of fit with and without the writer, and the bytes written."""
    import numpy as np

    from neuronwise.files import folder_size_bytes
    from neuronwise.learning import fit
    from neuronwise.network import Network
    from neuronwise.recording import RecordingWriter

    times: dict[bool, dict[str, list[float]]] = {kind: {"cpu": [], "wall": []} for kind in (False, True)}
    weights: dict[bool, Any] = {}
    written = 0
    order, shuffler = [False, True], random.Random(0)
    fit(Network.dense(sizes, output="softmax", seed=0), X[: 10 * batch], y[: 10 * batch], optimizer="sgd", epochs=1)
    for _ in range(rounds):
        shuffler.shuffle(order)
        for recorded in order:
            network = Network.dense(sizes, output="softmax", seed=0)
            with tempfile.TemporaryDirectory() as folder:
                observers = [RecordingWriter(Path(folder) / "recording")] if recorded else []
                settings = {"optimizer": "sgd", "learning_rate": 0.05, "epochs": epochs, "batch_size": batch}
                cpu, wall, result = timed(lambda: fit(network, X, y, observers=observers, **settings))  # noqa: B023
                if recorded:
                    written = folder_size_bytes(Path(folder))
            times[recorded]["cpu"].append(cpu)
            times[recorded]["wall"].append(wall)
            weights[recorded] = network.parameters
    ratios = {
        kind: spread([a / b for a, b in zip(times[True][kind], times[False][kind], strict=True)])
        for kind in ("cpu", "wall")
    }
    return {
        "network": "-".join(map(str, sizes)),
        "batch": batch,
        "epochs": epochs,
        "steps": result.steps,
        "ratio_cpu": ratios["cpu"],
        "ratio_wall": ratios["wall"],
        "without_cpu_s": spread(times[False]["cpu"]),
        "with_cpu_s": spread(times[True]["cpu"]),
        "without_wall_s": spread(times[False]["wall"]),
        "with_wall_s": spread(times[True]["wall"]),
        "bytes": written,
        "bytes_per_step": written / result.steps,
        "same_weights": bool(np.array_equal(weights[False], weights[True])),
    }


def as_table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    rows = []
    for case in result["cases"]:
        ratios = [case["ratio_cpu"], case["ratio_wall"]]
        rows.append(
            [
                f"{case['network']}, {case['batch']}, {case['epochs']} epochs",
                f"{case['steps']:,}",
                *(f"**{r['median']:.3f}** ({r['min']:.3f} to {r['max']:.3f})" for r in ratios),
                f"{case['bytes'] / 1e6:.2f} MB",
                f"{case['bytes_per_step']:.0f}",
                "yes" if case["same_weights"] else "**no**",
            ]
        )
    header = [
        "network, batch",
        "steps",
        "CPU, with / without",
        "wall, with / without",
        "written",
        "bytes per step",
        "same bits",
    ]
    return table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
