"""Microseconds per optimizer step: Neuronwise, PyTorch eager and scikit-learn, side by side.

    python benchmarks/training_step.py [--quick]

A step is all that a training does for one mini-batch: gather its rows in shuffled order, forward, loss, backward,
update.

- neuronwise: `neuronwise.learning.fit` without observers.
- torch: an eager `torch.nn.Sequential`, the rows sliced from tensors by a permutation (no DataLoader, which is slower).
- scikit-learn: `MLPClassifier` or `MLPRegressor`, `alpha=0`, no early stopping, SGD without momentum, or Adam.

All get the same float32 rows, batch size and learning rate. Each contender is a process of its own with one thread, all
on the same core, and only one works at a time. In every round each does one block in turn, in a new order; a block is
a training of 1 + k epochs less a training of 1 epoch, so that checks and set-up, which come once per training, do not
count. Reported are medians over the rounds, and the median, smallest and largest of the ratios within a round.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

from measuring import Worker, arguments, is_installed, machine, pin, save, serve, spread, table, timed

# Sizes, batch size, optimizer.
CASES = [
    ([784, 16, 16, 10], 10, "sgd"),
    ([784, 16, 16, 10], 32, "sgd"),
    ([784, 16, 16, 10], 32, "adam"),
    ([784, 128, 64, 10], 128, "sgd"),
    ([784, 512, 512, 10], 128, "adam"),
    ([30, 64, 64, 1], 32, "adam"),
]
AIMS = {("784-16-16-10", 32, "sgd"): {"torch": 4.0, "scikit-learn": 3.5}}
LEARNING_RATES = {"sgd": 0.05, "adam": 0.001}
CONTENDERS = {"neuronwise": "neuronwise", "torch": "torch", "scikit-learn": "sklearn"}


def main() -> None:
    parser = arguments(__doc__, "training_step.json")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each case (default %(default)s)")
    parser.add_argument("--core", type=int, help="the core to measure on (default the last)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    rounds, rows, seconds = (1, 1_280, 0.0) if options.quick else (options.rounds, 20_000, 0.3)
    missing = [name for name, module in CONTENDERS.items() if not is_installed(module)]
    notes = [f"{name} is not installed and was skipped" for name in missing]
    result: dict[str, Any] = {
        "benchmark": "training_step",
        "command": "python benchmarks/training_step.py",
        "quick": options.quick,
        "machine": machine(["torch", "scikit-learn"]),
        "notes": notes,
        "rows": rows,
        "learning_rates": LEARNING_RATES,
        "cases": [],
    }
    print("\n".join([*notes, f"{result['machine']['cpu']}, {result['machine']['versions']}", ""]))
    names = [name for name in CONTENDERS if name not in missing]
    for sizes, batch, optimizer in CASES[1::4] if options.quick else CASES:
        task = {"sizes": sizes, "batch": batch, "optimizer": optimizer, "rows": rows, "seconds": seconds}
        case = measure(names, task, rounds, options.core)
        result["cases"].append(case)
        print(f"{case['network']:>16} batch {batch:>3} {optimizer:<5}", describe(case), flush=True)
    print("\n" + as_table(result))
    save(result, options.out)


def measure(names: list[str], task: dict[str, Any], rounds: int, core: int | None) -> dict[str, Any]:
    """Return one case: microseconds per step of every contender in every round."""
    workers = {name: Worker(__file__, task | {"contender": name, "core": core}) for name in names}
    times: dict[str, dict[str, list[float]]] = {name: {"cpu_us": [], "wall_us": []} for name in names}
    order, shuffler = list(names), random.Random(0)
    try:
        for _ in range(rounds):
            shuffler.shuffle(order)
            for name in order:
                for key, value in workers[name].run().items():
                    times[name][key].append(value)
    finally:
        for worker in workers.values():
            worker.close()
    network = "-".join(map(str, task["sizes"]))
    case: dict[str, Any] = {"network": network, "batch": task["batch"], "optimizer": task["optimizer"]}
    case["contenders"] = {
        name: {
            "cpu_us": spread(values["cpu_us"]),
            "wall_us": spread(values["wall_us"]),
            "loss_after_2_epochs": workers[name].hello["loss"],
            "rounds_cpu_us": values["cpu_us"],
        }
        for name, values in times.items()
    }
    case["ratios"] = {
        name: {
            key: spread(
                [theirs / ours for theirs, ours in zip(times[name][key], times["neuronwise"][key], strict=True)]
            )
            for key in ("cpu_us", "wall_us")
        }
        for name in names[1:]
    }
    for name, least in AIMS.get((network, task["batch"], task["optimizer"]), {}).items():
        if name in case["ratios"]:
            found = case["ratios"][name]["cpu_us"]["median"]
            case.setdefault("aims", {})[name] = {"at_least": least, "found": found, "met": found >= least}
    return case


def describe(case: dict[str, Any]) -> str:
    texts = [f"{name} {values['cpu_us']['median']:8.1f} us" for name, values in case["contenders"].items()]
    return "  ".join([*texts, *(f"{name} / ours {r['cpu_us']['median']:.2f}" for name, r in case["ratios"].items())])


def as_table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    rows = []
    for case in result["cases"]:
        row = [f"{case['network']}, {case['batch']}, {case['optimizer']}"]
        for name in CONTENDERS:
            found = case["contenders"].get(name)
            row.append(
                f"{found['cpu_us']['median']:.4g} ({found['wall_us']['median']:.4g})" if found else "not installed"
            )
        for name in list(CONTENDERS)[1:]:
            ratio = case["ratios"].get(name, {}).get("cpu_us")
            row.append(f"**{ratio['median']:.1f}** ({ratio['min']:.1f} to {ratio['max']:.1f})" if ratio else "")
        rows.append(row)
    header = ["network, batch, optimizer", *CONTENDERS, *(f"{name} / neuronwise" for name in list(CONTENDERS)[1:])]
    return table(header, rows)


# --- the side of the contenders


def work(task: dict[str, Any]) -> None:
    """Be a contender: prepare, then measure a block whenever asked."""
    pin(task["core"])
    warnings.simplefilter("ignore")
    X, y = make_data(task["sizes"], task["rows"])
    train, loss = {"neuronwise": neuronwise, "torch": torch_eager, "scikit-learn": scikit_learn}[task["contender"]](
        X, y, task["sizes"], task["batch"], task["optimizer"]
    )
    train(1)
    two_epochs, _, _ = timed(lambda: train(2))
    found = loss()
    steps = -(-task["rows"] // task["batch"])
    k = max(1, round(task["seconds"] / (two_epochs / 2)))

    def block() -> dict[str, Any]:
        cpu_1, wall_1, _ = timed(lambda: train(1))
        cpu_k, wall_k, _ = timed(lambda: train(1 + k))
        return {"cpu_us": (cpu_k - cpu_1) / k / steps * 1e6, "wall_us": (wall_k - wall_1) / k / steps * 1e6}

    serve({"loss": found}, block)


def make_data(sizes: list[int], rows: int) -> tuple[Any, Any]:
    """Return float32 inputs, one in five not 0 as in MNIST's pictures, and what a random linear map says of them."""
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.random((rows, sizes[0]), dtype=np.float32) * (rng.random((rows, sizes[0]), dtype=np.float32) < 0.2)
    outputs = (X - X.mean(axis=0)) @ rng.standard_normal((sizes[0], sizes[-1])).astype(np.float32)
    if sizes[-1] > 1:
        return X, outputs.argmax(axis=1)
    return X, outputs / outputs.std()


def mean_loss(outputs: Any, y: Any) -> float:
    """Return the log loss of logarithms of probabilities, or the mean squared error."""
    import numpy as np

    values = np.asarray(outputs, dtype=np.float64)
    if y.ndim == 1:
        return float(-values[np.arange(len(y)), y].mean())
    return float(((values.reshape(y.shape) - y) ** 2).mean())


Trainer = tuple[Callable[[int], None], Callable[[], float]]


def neuronwise(X: Any, y: Any, sizes: list[int], batch: int, optimizer: str) -> Trainer:
    import numpy as np

    from neuronwise.learning import fit
    from neuronwise.network import Network

    classes, networks = sizes[-1] > 1, []

    def train(epochs: int) -> None:
        network = Network.dense(sizes, output="softmax" if classes else "identity", seed=0)
        networks[:] = [network]
        fit(
            network, X, y, optimizer=optimizer, learning_rate=LEARNING_RATES[optimizer], epochs=epochs, batch_size=batch
        )

    def loss() -> float:
        y_hat = networks[0].predict(X)
        return mean_loss(np.log(y_hat) if classes else y_hat, y)

    return train, loss


def torch_eager(X: Any, y: Any, sizes: list[int], batch: int, optimizer: str) -> Trainer:
    import torch

    torch.set_num_threads(1)
    classes, networks = sizes[-1] > 1, []
    inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
    measure_loss = torch.nn.CrossEntropyLoss() if classes else torch.nn.MSELoss()
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]

    def train(epochs: int) -> None:
        torch.manual_seed(0)
        layers: list[Any] = []
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        network = torch.nn.Sequential(*layers[:-1])
        networks[:] = [network]
        stepper = kind(network.parameters(), lr=LEARNING_RATES[optimizer])
        for _ in range(epochs):
            order = torch.randperm(len(inputs))
            for start in range(0, len(inputs), batch):
                rows = order[start : start + batch]
                stepper.zero_grad()
                measure_loss(network(inputs[rows]), targets[rows]).backward()
                stepper.step()

    def loss() -> float:
        with torch.no_grad():
            outputs = networks[0](inputs)
            return mean_loss(torch.log_softmax(outputs, dim=1) if classes else outputs, y)

    return train, loss


def scikit_learn(X: Any, y: Any, sizes: list[int], batch: int, optimizer: str) -> Trainer:
    import numpy as np
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    classes, models = sizes[-1] > 1, []
    kind = MLPClassifier if classes else MLPRegressor

    def train(epochs: int) -> None:
        model = kind(
            hidden_layer_sizes=sizes[1:-1],
            solver=optimizer,
            alpha=0.0,
            batch_size=batch,
            learning_rate_init=LEARNING_RATES[optimizer],
            max_iter=epochs,
            n_iter_no_change=10**6,
            momentum=0.0,
            nesterovs_momentum=False,
            random_state=0,
        )
        models[:] = [model]
        model.fit(X, y if classes else y.ravel())

    def loss() -> float:
        return mean_loss(np.log(models[0].predict_proba(X)) if classes else models[0].predict(X), y)

    return train, loss


if __name__ == "__main__":
    sys.exit(main())
