"""Facts: what a recording tells of a training, gathered for a diagnosis. Every number can be asked for by its name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NeuronwiseError, NotFoundError
from neuronwise.recording import Recording
from neuronwise.recording.events import read_events
from neuronwise.recording.layout import LayerLayout

_Quantity = Callable[["Facts"], float | None]
QUANTITIES: dict[str, _Quantity] = {}
"""What is measured of a training, by name; the docstring of each is its definition."""

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# Kinds of losses where each target is one of several classes, one of two, or a number.
OF_CLASSES = ("ce", "ce_of_softmax", "nll", "ce_probs", "one_hot_mse", "one_hot_mae", "one_hot_huber")
OF_PROBABILITIES = ("bce", "bce_logits", "bce_logits_of_sigmoid", "hinge")
# What numbers of float32 that come to 1 may be off.
_ROUNDING = 1e-3
_OF_SUMS = ("bce_logits", "bce_logits_of_sigmoid", "hinge")
OF_NUMBERS = ("mse", "mae", "huber")
# What functions of PyTorch are called, where the values do not tell (class weights, label smoothing).
_NAMED = {
    "CrossEntropyLoss": "ce", "cross_entropy": "ce", "NLLLoss": "nll", "nll_loss": "nll", "BCELoss": "bce",
    "binary_cross_entropy": "bce", "BCEWithLogitsLoss": "bce_logits",
    "binary_cross_entropy_with_logits": "bce_logits", "MSELoss": "mse", "mse_loss": "mse", "L1Loss": "mae",
    "l1_loss": "mae", "SmoothL1Loss": "huber", "HuberLoss": "huber", "smooth_l1_loss": "huber",
}  # fmt: skip
_MULTIPLYING = ("Linear", "Conv", "LSTM", "GRU", "RNN", "Attention")
_WITHOUT_FAN = ("Embedding", "BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")


def quantity(function: _Quantity) -> _Quantity:
    """Register a quantity under the function's name."""
    QUANTITIES[function.__name__] = function
    return function


class Facts:
    """Everything that a diagnosis rests on, read from a recording.

    Args:
        recording: Of a watched training.

    Attributes:
        columns: Of the recorded steps: a column for each quantity of the batches, ``step`` among them.
        data: Inputs and targets, as they were last described.
        validated: What the rows held out gave, in the order of the steps.
        eval_batches: What the last batch before each stored state gives in evaluation mode, likewise.
        setting: The last one: optimizers, modules, what is frozen.
        graph: What follows what in the model.
        loss_function: Its name; None where no loss was observed.
        nonfinite: Where something was first not finite; None where all was.
        unobserved: Why inputs, targets and settings were not observed to the end; None if they were.
        told_skill: The skill held out as the training itself told it; None where it is computed.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.stored = recording.stored
        self._known: dict[str, float | None] = {}
        self.columns: dict[str, NDArray[np.float64]] = {}
        self.data: dict[str, Any] = {}
        self.validated: list[dict[str, Any]] = []
        self.eval_batches: list[Any] = []
        self.setting: dict[str, Any] = {}
        self.first_setting: dict[str, Any] = {}
        self.graph: dict[str, Any] = {}
        self.loss_function: str | None = None
        self.nonfinite: dict[str, Any] | None = None
        self.told_skill: float | None = None
        self.unobserved: str | None = None
        parts: dict[str, list[Any]] = {}
        for event in read_events(self.stored.folder, []):
            self._take(event, parts)
        self.columns = {key: _numbers(values) for key, values in parts.items()}

    def _take(self, event: dict[str, Any], parts: dict[str, list[Any]]) -> None:
        kind = event.get("kind")
        if kind == "batches" and isinstance(columns := event.get("columns"), dict):
            steps = columns.get("step")
            if not isinstance(steps, list):
                return
            known = len(parts.get("step", ()))
            for key in parts.keys() | columns.keys():
                values = columns.get(key)
                fits = isinstance(values, list) and len(values) == len(steps)
                parts.setdefault(key, [None] * known).extend(values if fits else [None] * len(steps))  # type: ignore[arg-type]
        elif kind == "data":
            self.data = event
        elif kind == "validated":
            if "batch" in event:
                self.eval_batches.append(event["batch"])
            if "loss" in event:
                self.validated.append(event)
        elif kind == "setting":
            self.setting = event
            self.first_setting = self.first_setting or event
        elif kind == "graph":
            self.graph = event
        elif kind == "loss":
            self.loss_function = str(event.get("function") or "") or self.loss_function
        elif kind == "unobserved":
            self.unobserved = str(event.get("reason"))[:300]
        elif kind == "nonfinite" and self.nonfinite is None:
            self.nonfinite = event

    # ------------------------------------------------------------------ numbers by name

    def __getitem__(self, name: str) -> float | None:
        """Return a quantity; None where the recording does not tell."""
        if name not in self._known:
            with np.errstate(all="ignore"):
                value = QUANTITIES[name](self)
            self._known[name] = None if value is None or math.isnan(value) else float(value)
        return self._known[name]

    def above(self, name: str, limit: float) -> bool:
        """Return whether a quantity is known and greater than a limit."""
        value = self[name]
        return value is not None and value > limit

    def below(self, name: str, limit: float) -> bool:
        """Return whether a quantity is known and less than a limit."""
        value = self[name]
        return value is not None and value < limit

    def number(self, group: str, key: str) -> float | None:
        """Return a number of a group of `data`, such as ``inputs``, ``std_median``."""
        found = self.data.get(group)
        return _number(found.get(key)) if isinstance(found, dict) else None

    def column(self, name: str) -> NDArray[np.float64]:
        """Return a column of the batches, (recorded steps,); empty where there is none."""
        return self.columns.get(name, np.zeros(0))

    # ------------------------------------------------------------------ the task

    @cached_property
    def loss_kind(self) -> str | None:
        """Which known loss was computed, by its values, else by its name; None if unknown."""
        found = self.data.get("loss_kinds")
        kinds = [str(one) for one in found] if isinstance(found, list) else []
        named = self._kind_of_loss()
        if named in kinds or not kinds:
            return named
        return kinds[0]

    def _kind_of_loss(self) -> str | None:
        """Return which known loss has this name."""
        return _NAMED.get(self.loss_function or "")

    @cached_property
    def target_values(self) -> list[float]:
        """The values that targets have, if few and whole; else empty."""
        return sorted(float(key) for key in self._counts(self.data.get("targets")))

    @cached_property
    def target_counts(self) -> dict[str, int]:
        """How often each class was seen in training."""
        return self._counts(self.data.get("targets"))

    def _counts(self, described: Any) -> dict[str, int]:
        counts = described.get("counts") if isinstance(described, dict) else None
        if not isinstance(counts, dict):
            return {}
        return {str(key): int(value) for key, value in counts.items() if isinstance(value, int) and _is_number(key)}

    def shape(self, of: str) -> tuple[int, ...]:
        """Return the shape of the ``prediction`` or ``target`` that the loss was given last."""
        found = self.data.get(of)
        return tuple(int(one) for one in found) if isinstance(found, list) else ()

    @cached_property
    def task(self) -> str | None:
        """``"classes"``, ``"binary"`` (one or several yes or no), ``"shares"``, ``"number"``; None if not known.

        Shares are numbers of 0 to 1 under the cross-entropy of yes or no, as those of a picture, or of each class in a
        row, as those of a teacher.
        """
        targets = self.data.get("targets")
        if not isinstance(targets, dict) or not targets.get("values"):
            return None
        is_whole_dtype = "int" in str(targets.get("dtype")) or "bool" in str(targets.get("dtype"))
        if is_whole_dtype and len(self.shape("prediction")) > len(self.shape("target")):
            return "classes"
        if self.target_values and set(self.target_values) <= {0.0, 1.0}:
            return "binary"
        is_few = 2 < len(self.target_values) <= 20 and self.target_values[0] == 0
        if is_few and self.loss_kind in (*OF_CLASSES, *OF_PROBABILITIES):
            return "classes"
        low, high = self.number("targets", "min"), self.number("targets", "max")
        if self.loss_kind in ("bce", "bce_logits") and low is not None and high is not None and 0 <= low < high <= 1:
            return "shares"
        is_spread = low is not None and high is not None and 0 <= low < high <= 1 and self._sum_to_one
        return "shares" if is_spread and self.loss_kind not in OF_NUMBERS else "number"

    @property
    def _sum_to_one(self) -> bool:
        """Whether the targets of a row, of several, come to 1, as shares of classes do."""
        shape, mean = self.shape("target"), self.number("targets", "mean")
        return mean is not None and len(shape) > 1 and shape[-1] > 1 and abs(mean * shape[-1] - 1) < _ROUNDING

    @cached_property
    def score_name(self) -> str | None:
        """The column of the batches that says how well it does."""
        if self.task == "classes":
            return "correct" if len(self.column("correct")) else "correct_rounded"
        if self.task == "binary":
            if not len(self.column("correct_half")):
                return "correct"
            return "correct_half" if self.loss_kind not in _OF_SUMS else "correct_zero"
        # Of shares under a loss of logits it is the sums that are seen, not the answers.
        return "sse" if self.task == "number" or (self.task == "shares" and self.loss_kind == "bce") else None

    # ------------------------------------------------------------------ layers

    @cached_property
    def layers(self) -> list[LayerLayout]:
        """Layers with neurons, in order."""
        return list(self.stored.layout.observed)

    @cached_property
    def weighted(self) -> list[LayerLayout]:
        """Layers whose weights multiply what comes in: no embeddings, no normalisations, no biases or places alone."""
        multiplied = {str(one.get("weight")) for one in self.graph_layers}
        return [
            one
            for one in self.layers
            if one.weights is not None
            and len(one.parameters[one.weights].shape) > 1
            and not any(word in one.kind for word in _WITHOUT_FAN)
            and (
                not multiplied or any(word in one.kind for word in _MULTIPLYING) or self._weight_name(one) in multiplied
            )
        ]

    @staticmethod
    def _weight_name(layer: LayerLayout) -> str:
        return f"{layer.name}.{layer.weights}"

    def statistic(self, layer: LayerLayout, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return a statistic of a layer's neurons over the frames: steps (n,) and values (n, neurons)."""
        course = self.recording.neurons(layer.name, name)
        return course.steps, np.asarray(course.values, np.float64)

    @cached_property
    def norms(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """For each weighted layer its norms over the frames from step 1 on."""
        found = {}
        for layer in self.weighted:
            own = {}
            for name in ("weight_norm", "grad_norm", "update_norm"):
                steps, values = self.statistic(layer, name)
                own[name] = np.sqrt((values**2).sum(1))[steps > 0]
                own["steps"] = steps[steps > 0].astype(float)
            found[layer.name] = own
        return found

    def matrix(self, layer: LayerLayout, step: int) -> NDArray[np.float64] | None:
        """Return the weights of a layer after a step as (neurons, inputs); None where they are not stored."""
        assert layer.weights is not None
        try:
            values = self.stored.layer(step, layer.name)[layer.weights]
        except (NotFoundError, NeuronwiseError):
            return None
        return np.asarray(values, np.float64).reshape(values.shape[0], -1)

    def biases(self, layer: LayerLayout, step: int) -> NDArray[np.float64] | None:
        """Return the biases of a layer after a step; None where there are none, or they are not stored."""
        if layer.biases is None:
            return None
        try:
            return np.asarray(self.stored.layer(step, layer.name)[layer.biases], np.float64)
        except (NotFoundError, NeuronwiseError):
            return None

    # ------------------------------------------------------------------ modules and graph

    @cached_property
    def modules(self) -> list[dict[str, Any]]:
        """Modules that have none inside, in their order."""
        found = self.setting.get("modules")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    @cached_property
    def graph_layers(self) -> list[dict[str, Any]]:
        """Weights that the outputs depend on, with what lies between them."""
        found = self.graph.get("layers")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    @cached_property
    def output_functions(self) -> list[str]:
        """Functions after the last layer, the last one first."""
        found = self.graph.get("output")
        return [str(one) for one in found] if isinstance(found, list) else []

    @cached_property
    def hidden_functions(self) -> list[str]:
        """For each layer that follows another: the functions between, all in one list."""
        return [str(kind) for layer in self.graph_layers for kind in layer.get("after", ())]

    @cached_property
    def optimizer(self) -> tuple[str, dict[str, Any]]:
        """Kind and settings of the first optimizer; ``("", {})`` where it is not known."""
        found = self.setting.get("optimizers")
        first = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
        groups = first.get("groups")
        settings = groups[0] if isinstance(groups, list) and groups and isinstance(groups[0], dict) else {}
        return str(first.get("kind", "")), settings

    @cached_property
    def losses(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and losses, of all steps whose loss is known."""
        scalars = self.stored.scalars
        return np.asarray(scalars["step"], np.int64), np.asarray(scalars["loss"], np.float64)

    @cached_property
    def rates(self) -> NDArray[np.float64]:
        """The learning rate of these steps."""
        return np.asarray(self.stored.scalars["learning_rate"], np.float64)

    @property
    def last_step(self) -> int:
        """Steps that were taken."""
        return self.stored.last_step


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _WORDS.get(value)
    return float(value) if isinstance(value, (int, float)) else None


def _numbers(values: list[Any]) -> NDArray[np.float64]:
    return np.array([math.nan if (one := _number(value)) is None else one for value in values])
