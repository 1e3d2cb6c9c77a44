"""MNIST against the clock: a small dense network to 95 %, in all libraries, and a convolutional one to 99 %.

    python benchmarks/mnist_race.py --data FOLDER [--quick]

To 95 %: 784-16-16-10 learns all 60,000 pictures (pixels divided by 255) with batches of 32 until, at the end of an
epoch, it is right on 95 % of the 10,000 test pictures. Seconds are those of the epochs; judging is not counted, nor is
JAX's compilation, which an epoch before warms up for all (its seconds are reported). The same rates for all contenders.

Convolutional: 8 filters of 5×5, the maximum of each 2×2, 16 filters of 5×5, the maximum of each 2×2, 64 neurons, 10
outputs, with Adam and a cosine schedule for a fixed number of epochs, in Neuronwise and in PyTorch eager; seconds of
the whole training, and the accuracy on the test pictures after it.

As in `training.py`, each contender is a process of its own with one thread, all on the same core, in turns.
"""

# ruff: noqa: D102 - the methods of a script need no docstring where their name says it

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, Contender
from measuring import Worker, arguments, machine, pin, save, serve, spread, start_workers, table, timed

SIZES = [784, 16, 16, 10]
BATCH = 32
LEARNING_RATES = {"sgd": 0.1, "adam": 0.002}
ACCURACY = 0.95
MOST_EPOCHS = 30
CONVOLUTION = {
    "filters": [8, 16],
    "kernel": 5,
    "hidden": 64,
    "optimizer": "adam",
    "learning_rate": 0.003,
    "batch": 64,
    "epochs": 8,
}
CONVOLUTION_ACCURACY = 0.99
WITH_CONVOLUTION = ("neuronwise", "torch")


def main() -> None:
    parser = arguments(__doc__, "mnist_race.json")
    parser.add_argument("--data", type=Path, help="folder with MNIST (default NEURONWISE_DATA, cache, download)")
    parser.add_argument(
        "--seeds", type=int, default=5, help="trainings to 95 %% of each contender (default %(default)s)"
    )
    parser.add_argument(
        "--convolution-seeds", type=int, default=3, help="trainings of the convolutional network (default %(default)s)"
    )
    parser.add_argument("--core", type=int, help="the core to measure on (default the last)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    workers, notes = start_workers(__file__, CONTENDERS, options.core)
    result: dict[str, Any] = {
        "benchmark": "mnist_race",
        "command": "python benchmarks/mnist_race.py --data FOLDER",
        "quick": options.quick,
        "machine": machine([CONTENDERS[name].package for name in workers]),
        "notes": notes,
        "accuracy": ACCURACY,
        "learning_rates": LEARNING_RATES,
        "batch": BATCH,
    }
    print("\n".join(notes))
    data = {"folder": str(options.data) if options.data else None, "quick": options.quick}
    try:
        seeds = range(1 if options.quick else options.seeds)
        result["cases"] = [race(workers, data, optimizer, seeds) for optimizer in LEARNING_RATES]
        seeds = range(1 if options.quick else options.convolution_seeds)
        chosen = {name: workers[name] for name in WITH_CONVOLUTION if name in workers}
        result["convolution"] = convolution(chosen, data, seeds)
    finally:
        for worker in workers.values():
            worker.close()
    print(f"\n{as_table(result)}\n\n{as_convolution_table(result)}")
    save(result, options.out)


def race(workers: dict[str, Worker], data: dict[str, Any], optimizer: str, seeds: range) -> dict[str, Any]:
    """Return the seconds of every contender with every seed until the accuracy is reached."""
    warm = {name: worker.ask(task="warm up", optimizer=optimizer, **data) for name, worker in workers.items()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    order, shuffler = list(workers), random.Random(0)
    for seed in seeds:
        shuffler.shuffle(order)
        for name in order:
            found[name].append({"seed": seed} | workers[name].ask(task="race", seed=seed))
            print(f"{optimizer} seed {seed} {name}: {describe(found[name][-1])}", flush=True)
    return {
        "network": "-".join(map(str, SIZES)),
        "optimizer": optimizer,
        "contenders": {name: summary(found[name]) | {"first_epoch_s": warm[name]["wall_s"]} for name in workers},
    }


def convolution(workers: dict[str, Worker], data: dict[str, Any], seeds: range) -> dict[str, Any]:
    """Return accuracy and seconds of the convolutional network with every seed."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    order, shuffler = list(workers), random.Random(0)
    for seed in seeds:
        shuffler.shuffle(order)
        for name in order:
            found[name].append({"seed": seed} | workers[name].ask(task="convolution", seed=seed, **data))
            print(f"convolutional, seed {seed} {name}: {describe(found[name][-1])}", flush=True)
    ours = [one["accuracy"] for one in found["neuronwise"]]
    return {
        "settings": CONVOLUTION,
        "aim": CONVOLUTION_ACCURACY,
        "met": min(ours) >= CONVOLUTION_ACCURACY,
        "contenders": {name: summary(trainings) for name, trainings in found.items()},
    }


def summary(trainings: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [one["accuracy"] for one in trainings]
    return {
        "cpu_s": spread([one["cpu_s"] for one in trainings]),
        "wall_s": spread([one["wall_s"] for one in trainings]),
        "epochs": spread([one["epochs"] for one in trainings]),
        "accuracy": spread(accuracies) | {"mean": statistics.mean(accuracies)},
        "trainings": trainings,
    }


def describe(training: dict[str, Any]) -> str:
    return f"{training['accuracy']:.2%} after {training['epochs']} epochs, {training['cpu_s']:.2f} s"


def as_table(result: dict[str, Any]) -> str:
    """Return the race to 95 % as a Markdown table."""
    rows = []
    for name in result["cases"][0]["contenders"]:
        row = [name]
        for case in result["cases"]:
            found = case["contenders"][name]
            s, n = found["cpu_s"], found["epochs"]
            row += [f"**{s['median']:.2f}** ({s['min']:.2f} to {s['max']:.2f})", f"{n['median']:g}"]
            row.append(f"{1e3 * s['median'] / n['median']:.0f}")
        rows.append(row)
    header = ["contender"]
    for case in result["cases"]:
        how = f"{case['optimizer']}, rate {result['learning_rates'][case['optimizer']]:g}"
        header += [f"{how}: seconds (range)", "epochs", "ms an epoch"]
    return table(header, rows)


def as_convolution_table(result: dict[str, Any]) -> str:
    """Return the convolutional network as a Markdown table."""
    found, rows = result["convolution"], []
    for name, one in found["contenders"].items():
        a, s = one["accuracy"], one["cpu_s"]
        rows.append(
            [
                name,
                f"**{a['mean']:.2%}** ({a['min']:.2%} to {a['max']:.2%})",
                f"**{s['median']:.1f}** ({s['min']:.1f} to {s['max']:.1f})",
                f"{one['epochs']['median']:g}",
                str(len(one["trainings"])),
            ]
        )
    return table(["contender", "test accuracy, mean (range)", "seconds (range)", "epochs", "seeds"], rows)


# --- the side of the contenders


def work(task: dict[str, Any]) -> None:
    """Be a contender until no request comes any more."""
    pin(task["core"])
    kind = CONTENDERS[task["contender"]]
    try:
        kind.load()
    except ImportError as error:
        serve({"missing": str(error)}, lambda request: {})
        return
    serve({}, Desk(kind).answer)


class Desk:
    """A contender's answers."""

    def __init__(self, kind: type[Contender]) -> None:
        self.kind = kind
        self.data: tuple[Any, ...] = ()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        task = request.pop("task")
        if task == "race":
            return self.race(request["seed"])
        self.load(request["folder"], request["quick"])
        if task == "convolution":
            return self.convolution(request["seed"])
        X, y, *_ = self.data
        optimizer = request["optimizer"]
        self.contender = self.kind(X.reshape(len(X), -1), y, SIZES, BATCH, optimizer, LEARNING_RATES[optimizer])
        cpu, wall, _ = timed(lambda: self.contender.train(1))
        return {"cpu_s": cpu, "wall_s": wall}

    def load(self, folder: str | None, quick: bool) -> None:
        import numpy as np

        from neuronwise.data import mnist

        if self.data:
            return
        found = mnist(Path(folder) if folder else None)
        pictures = [images.astype(np.float32) / np.float32(255) for images in (found.images, found.test_images)]
        labels = [values.astype(np.int64) for values in (found.labels, found.test_labels)]
        rows = 1_920 if quick else None
        self.data = pictures[0][:rows], labels[0][:rows], pictures[1], labels[1]
        self.most, self.wanted = (2, 0.5) if quick else (MOST_EPOCHS, ACCURACY)

    def accuracy(self, outputs: Any) -> float:
        return float((outputs.argmax(axis=1) == self.data[3]).mean())

    def race(self, seed: int) -> dict[str, Any]:
        """Train until the accuracy is reached; return the seconds without those of judging."""
        X_test = self.data[2].reshape(len(self.data[2]), -1)
        reached: list[float] = []
        judging = [0.0, 0.0]

        def judge() -> bool:
            cpu, wall = time.process_time(), time.perf_counter()
            reached.append(self.accuracy(self.contender.outputs(X_test)))
            judging[0] += time.process_time() - cpu
            judging[1] += time.perf_counter() - wall
            return reached[-1] >= self.wanted

        cpu, wall, _ = timed(lambda: self.contender.train(self.most, seed, judge))
        return {
            "accuracy": reached[-1],
            "epochs": len(reached),
            "cpu_s": cpu - judging[0],
            "wall_s": wall - judging[1],
        }

    def convolution(self, seed: int) -> dict[str, Any]:
        X, y, X_test, _ = self.data
        epochs = 1 if self.most == 2 else CONVOLUTION["epochs"]
        train = {"neuronwise": neuronwise_convolution, "torch": torch_convolution}[self.kind.package]
        cpu, wall, outputs = timed(lambda: train(X, y, seed, epochs))
        return {"accuracy": self.accuracy(outputs(X_test)), "epochs": epochs, "cpu_s": cpu, "wall_s": wall}


def neuronwise_convolution(X: Any, y: Any, seed: int, epochs: int) -> Any:
    """Train and return what maps pictures to outputs."""
    from neuronwise.learning import fit
    from neuronwise.network import Conv2D, Dense, Flatten, MaxPool2D, Network

    s: Any = CONVOLUTION
    layers = []
    for filters in s["filters"]:
        layers += [Conv2D(filters, s["kernel"]), MaxPool2D(2)]
    layers += [Flatten(), Dense(s["hidden"]), Dense(10, "softmax")]
    network = Network(layers, input_shape=(28, 28), seed=seed)
    fit(
        network,
        X,
        y,
        optimizer=s["optimizer"],
        learning_rate=s["learning_rate"],
        schedule="cosine",
        batch_size=s["batch"],
        epochs=epochs,
    )
    return network.predict


def torch_convolution(X: Any, y: Any, seed: int, epochs: int) -> Any:
    """Train and return what maps pictures to outputs."""
    import torch

    torch.manual_seed(seed)
    s: Any = CONVOLUTION
    layers, channels = [], 1
    for filters in s["filters"]:
        layers += [torch.nn.Conv2d(channels, filters, s["kernel"]), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        channels = filters
    layers += [torch.nn.Flatten(), torch.nn.Linear(16 * channels, s["hidden"]), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(s["hidden"], 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=s["learning_rate"])
    inputs, targets = torch.from_numpy(X)[:, None], torch.from_numpy(y)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(inputs) // s["batch"]))
    loss = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        order = torch.randperm(len(inputs))
        for start in range(0, len(inputs), s["batch"]):
            rows = order[start : start + s["batch"]]
            optimizer.zero_grad()
            loss(network(inputs[rows]), targets[rows]).backward()
            optimizer.step()
            schedule.step()

    def outputs(X: Any) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(X)[:, None]).numpy()

    return outputs


if __name__ == "__main__":
    sys.exit(main())
