"""Facts of a training of our own engine: those of a watched one, from its settings and, where at hand, its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.diagnosing.facts import Facts
from neuronwise.errors import NeuronwiseError
from neuronwise.network import Network
from neuronwise.recording import Recording, TrainingData
from neuronwise.watching.columns import surest_right

# What the optimizers, losses and layers are called in PyTorch, in whose words the rules are written.
_OPTIMIZERS = {"sgd": "SGD", "momentum": "SGD", "nesterov": "SGD", "adam": "Adam", "adamw": "AdamW",
               "rmsprop": "RMSprop"}  # fmt: skip
_LOSSES = {"categorical_cross_entropy": "ce", "binary_cross_entropy": "bce_logits", "squared_error": "mse",
           "mean_squared_error": "mse", "absolute_error": "mae", "huber": "huber", "hinge": "hinge"}  # fmt: skip
_MODULES = {"Dropout": "Dropout", "BatchNorm": "BatchNorm1d", "Dense": "Linear", "Conv2D": "Conv2d"}
_WEIGHTED = ("Dense", "Conv2D")
# So many states, and rows of each part, are looked at.
_MOST_STATES, _MOST_ROWS = 25, 2000
_MOST_PRODUCTS, _LEAST_ASKED = 1.5e10, 400
# Numbers of the inputs that are looked at.
_MOST_NUMBERS = 20_000_000


class OwnFacts(Facts):
    """Facts of a training of our own engine.

    Args:
        recording: Of it.

    Attributes:
        X: Inputs that were learned from, (rows, features); empty where the data is not at hand.
        held: Inputs held out, likewise.
        no_data: Why the data is not at hand; None if it is.
    """

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self.X: NDArray[np.float64] = np.zeros((0, 0))
        self.held: NDArray[np.float64] = np.zeros((0, 0))
        self.y: NDArray[np.float64] = np.zeros(0)
        self.no_data: str | None = None
        said = self.stored.description.get("training")
        self._settings: Mapping[str, Any] = said if isinstance(said, dict) else {}
        self.loss_function = _text(self._settings.get("loss"))
        self._read_settings()
        try:
            data = recording.data
            if data is not None:
                self._look_at_data(data)
        except NeuronwiseError as error:
            self.no_data = error.message
        if not self.validated:
            self._take_told_skill()

    def _take_told_skill(self) -> None:
        """Take what the training told of the rows held out."""
        metrics = self.stored.epochs[-1]["metrics"] if self.stored.epochs else {}
        classes = self.stored.description.get("classes")
        if "val_r2" in metrics:
            self.told_skill = metrics["val_r2"]
        elif "val_accuracy" in metrics and isinstance(classes, list) and len(classes) > 1:
            chance = 1 / len(classes)
            self.told_skill = (metrics["val_accuracy"] - chance) / (1 - chance)

    def _read_settings(self) -> None:
        """Write settings and graph as the watcher writes those of a model of PyTorch's."""
        told = self._settings.get("optimizer")
        optimizer: dict[str, Any] = dict(told) if isinstance(told, dict) else {}
        kind = _text(optimizer.pop("name", "")) or ""
        optimizer.pop("learning_rate", None)
        if "beta1" in optimizer and "beta2" in optimizer:
            optimizer["betas"] = [optimizer.pop("beta1"), optimizer.pop("beta2")]
        if "epsilon" in optimizer:
            optimizer["eps"] = optimizer.pop("epsilon")
        network = self._settings.get("network")
        layers = network.get("layers") if isinstance(network, dict) else None
        every = [one for one in layers if isinstance(one, dict)] if isinstance(layers, list) else []
        modules: list[dict[str, Any]] = []
        graph: list[dict[str, Any]] = []
        after: list[str] = []
        before: str | None = None
        for one in every:
            name, made = str(one.get("name")), str(one.get("type"))
            modules.append({"path": name, "kind": _MODULES.get(made, made), "p": one.get("rate"), "training": True})
            if made in _WEIGHTED:
                weight = f"{name}.W"
                follows = [] if before is None else [before]
                graph.append({"name": name, "weight": weight, "after": list(after), "follows": follows, "bare": []})
                before, after = weight, []
            if made == "BatchNorm":
                after.append("batchnorm")
            if (function := _text(one.get("activation"))) not in (None, "linear", "identity"):
                after.append(str(function))
        # The losses take the sums of the output layer, whose sigmoid or softmax is within them.
        within = {"ce": ("softmax",), "bce_logits": ("sigmoid",)}.get(self.loss_kind or "", ())
        self.graph = {"layers": graph, "output": [one for one in reversed(after) if one not in within], "merges": 0}
        self.setting = {"optimizers": [{"kind": _OPTIMIZERS.get(kind, kind), "groups": [optimizer]}],
                        "modules": modules, "frozen": [], "not_held": [], "training": True}  # fmt: skip
        self.first_setting = self.setting

    def _kind_of_loss(self) -> str | None:
        return _LOSSES.get(self.loss_function or "")

    # ------------------------------------------------------------------ with the data

    def _look_at_data(self, data: TrainingData) -> None:
        # Of many large inputs, as pictures are, an even sample is described.
        width = max(1, int(np.prod(data.X.shape[1:])))
        rows = data.rows[:: max(1, -(-len(data.rows) * width // _MOST_NUMBERS))]
        self.X = np.asarray(data.X[rows], np.float64).reshape(len(rows), -1)
        self.y = np.asarray(data.y[rows], np.float64)
        held_rows = self._held_rows(data)
        held_rows = held_rows[:: max(1, -(-len(held_rows) * width // _MOST_NUMBERS))]
        self.held = np.asarray(data.X[held_rows], np.float64).reshape(len(held_rows), -1)
        self.data = {
            "inputs": _described(self.X, data.X.shape[1:]),
            "targets": _targets(data.y[data.rows]),
            "loss_kinds": [one] if (one := self._kind_of_loss()) else [],
        }
        self._look_at_states(data, held_rows)
        self._look_at_order(data)

    def _held_rows(self, data: TrainingData) -> NDArray[np.int64]:
        found = []
        for part in ("validation", "test"):
            try:
                rows = self.stored.split(part)
            except NeuronwiseError:
                continue
            found.append(rows[rows < len(data.X)])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _look_at_states(self, data: TrainingData, held_rows: NDArray[np.int64]) -> None:
        """Have stored states answer rows of the training and rows held out: those up to the one that was delivered.

        What came after the best state was given up by early stopping, and says nothing of the network that there is.
        """
        steps = self.recording.keyframes
        last = self.stored.delivered_step
        if last is not None and last in steps:
            steps = steps[steps <= last]
        if len(steps) > _MOST_STATES:
            steps = steps[np.unique(np.linspace(0, len(steps) - 1, _MOST_STATES).astype(int))]
        # Of a large network fewer rows, so that asking takes a few seconds at most.
        parameters = max(1, self.stored.parameter_count)
        most = int(np.clip(_MOST_PRODUCTS / (2 * parameters * max(1, len(steps))), _LEAST_ASKED, _MOST_ROWS))
        own = data.rows[:: max(1, len(data.rows) // most)]
        held = held_rows[:: max(1, len(held_rows) // most)]
        columns: dict[str, list[float]] = {}
        beside, targets = (_beside(self.X, self.held), _targets(data.y[held])) if len(held) else ({}, {})
        for step in steps.tolist():
            network = self.recording.at(step)
            row = {"step": float(step)} | self._answers(network, data.X[own], data.y[own])
            for key, value in row.items():
                if isinstance(value, float):
                    columns.setdefault(key, []).append(value)
            if len(held):
                found = self._answers(network, data.X[held], data.y[held], recall=True)
                self.validated.append({**found, "step": step, "rows": len(held), "targets": targets,
                                       "beside": beside})  # fmt: skip
        for step, metrics in ((one["step"], one["metrics"]) for one in self.stored.epochs):
            for one in self.validated:
                if one["step"] == step and "val_loss" in metrics:
                    one["loss"] = metrics["val_loss"]
        self.columns |= {key: np.array(values) for key, values in columns.items()}

    def _answers(self, network: Network, X: NDArray[Any], y: NDArray[Any], *, recall: bool = False) -> dict[str, Any]:
        """Return how many answers are right, as the watcher tells it."""
        answers = np.asarray(network.predict(X), np.float64).reshape(len(X), -1)
        self.data["prediction"], self.data["target"] = list(answers.shape), list(np.shape(y))
        with np.errstate(all="ignore"):  # answers that are not finite, of a training that diverged, are measured too
            return self._measured(answers, y, recall)

    def _measured(self, answers: NDArray[np.float64], y: NDArray[Any], recall: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"output_spread": float(answers.std(0).mean())}
        if y.ndim == 1 and answers.shape[1] > 1 and y.dtype.kind in "iu":
            guess = answers.argmax(1)
            found["correct"] = float(np.mean(guess == y))
            found["one_answer"] = float(np.bincount(guess).max() / len(guess))
            if recall:
                found["surest_right"] = surest_right(answers, y)
                found["recall"] = {str(int(one)): float(np.mean(guess[y == one] == one)) for one in np.unique(y)}
            return found
        goal, own = np.asarray(y, np.float64).reshape(-1), answers.reshape(-1)
        if goal.shape == own.shape:
            found["sse"], found["sst"] = float(np.mean((goal - own) ** 2)), float(goal.var())
            if np.isin(goal, (0, 1)).all():
                found["surest_right"] = surest_right(own[:, None], goal)
                # What is predicted is a probability already, whatever the loss takes.
                found["correct_half"] = found["correct_zero"] = float(np.mean((own > 0.5) == (goal > 0.5)))
        return found

    def _look_at_order(self, data: TrainingData) -> None:
        """Note the targets of the first epoch's batches, where rows are not shuffled."""
        size = self._settings.get("batch_size")
        if not isinstance(size, int) or size < 1:
            return
        count = len(data.rows)
        self.columns["rows"] = np.full(1, float(min(size, count)))
        is_all = len(self.X) == count and self.X.size < 10_000_000
        self.data["inputs"]["distinct"] = len(np.unique(self.X, axis=0)) if is_all else count
        self.columns["seen_before"] = self.columns["looked_at"] = np.ones(1)
        if self._settings.get("shuffle") is False and size > 1:
            y = np.asarray(data.y[data.rows], np.float64)
            batches = [y[start : start + size].reshape(-1) for start in range(0, count - size + 1, size)]
            self.columns["rows"] = np.full(len(batches), float(size))
            self.columns["target_mean"] = np.array([one.mean() for one in batches])
            self.columns["target_std"] = np.array([one.std() for one in batches])


def _described(X: NDArray[np.float64], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what inputs are like, as the watcher tells it."""
    finite = np.isfinite(X)
    found: dict[str, Any] = {
        "shape": list(shape), "dtype": "float64", "rows": len(X), "features": X.shape[1],
        "nonfinite": int(X.size - np.count_nonzero(finite)),
    }  # fmt: skip
    if not X.size:
        return found
    mean, std = X.mean(0), X.std(0)
    moving = std > 1e-6 * np.maximum(np.abs(mean), 1e-12)
    found |= {"min": float(X.min()), "max": float(X.max()), "rms": float(np.sqrt(np.mean(X**2))),
              "constant": int(np.count_nonzero(~moving))}  # fmt: skip
    # A column of few values (one-hot, a rare pixel) is no number whose spread could be scaled.
    numbers = [place for place in np.flatnonzero(moving) if len(np.unique(X[:1000, place])) > 20]
    if numbers:
        scale = np.maximum(std[numbers], np.ptp(X[:, numbers], axis=0) / 8)  # as the watcher has it
        found |= {"std_largest": float(std[numbers].max()), "std_least": float(std[numbers].min()),
                  "scale_largest": float(scale.max()), "scale_least": float(np.quantile(scale, 0.05, method="lower")),
                  "std_median": float(np.median(std[numbers])),
                  "offset": float(np.median(np.abs(mean[numbers]) / std[numbers]))}  # fmt: skip
    return found


def _targets(y: NDArray[Any]) -> dict[str, Any]:
    flat = np.asarray(y, np.float64).reshape(-1)
    found: dict[str, Any] = {"shape": list(np.shape(y)[1:]), "dtype": str(np.asarray(y).dtype), "values": flat.size,
                             "nonfinite": int(flat.size - np.count_nonzero(np.isfinite(flat)))}  # fmt: skip
    flat = flat[np.isfinite(flat)]
    if flat.size:
        found |= {"min": float(flat.min()), "max": float(flat.max()), "mean": float(flat.mean()),
                  "std": float(flat.std())}  # fmt: skip
        values, counts = np.unique(flat, return_counts=True)
        if len(values) <= 100 and bool((values == np.rint(values)).all()):
            found["counts"] = {f"{value:g}": int(count) for value, count in zip(values, counts, strict=True)}
    return found


def _beside(X: NDArray[np.float64], held: NDArray[np.float64]) -> dict[str, float]:
    with np.errstate(all="ignore"):
        std, own = X.std(0), held.std(0)
        moving = (std > 1e-6) & (own > 0)
        if len(held) < 2 or not moving.any():
            return {}
        return {
            "shift_median": float(np.median((np.abs(held.mean(0) - X.mean(0)) / std)[moving])),
            "scale_median": float(np.median(np.log10(own / std)[moving])),
        }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
