"""On which rows of which data each step of a recorded training was taken."""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.learning.identity import data_identity
from neuronwise.learning.rows import epoch_order, pass_order


@dataclass(frozen=True)
class TrainingData:
    """What a training learned from, as `fit` prepared it.

    Attributes:
        X: Inputs, (rows, *input_shape), in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        rows: The rows that were learned from.
        weights: A weight for each row of X, or None.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    rows: NDArray[np.int64]
    weights: NDArray[Any] | None = None


class Batches(ABC):
    """Which rows each step was taken on."""

    @abstractmethod
    def locate(self, step: int) -> tuple[int, int, TrainingData, NDArray[np.int64]]:
        """Return epoch, step within the epoch (from 0), data and rows of a step, from 1."""

    def has(self, first: int, last: int) -> bool:
        """Return whether what the steps from `first` to `last` learned from is at hand."""
        return True

    def missing(self) -> list[tuple[int, int]]:
        """Return the first and the last step of each stretch of which it is not, ascending."""
        return []


class FitBatches(Batches):
    """The steps of `fit`: epochs over the same rows.

    Raises:
        UsageError: The data is not that of the training.
    """

    def __init__(self, settings: Mapping[str, Any], data: TrainingData) -> None:
        now = data_identity(data.X, data.y, data.weights, data.rows, None)
        for key in ("X", "y", "training_rows", "sample_weight"):
            if settings.get(key) != now[key]:
                raise _another(key, settings.get(key) is not None, now[key] is not None)
        self._data, self._size = data, int(settings["batch_size"])
        self._seed, self._shuffle = int(settings["seed"]), bool(settings["shuffle"])
        self.steps_per_epoch = math.ceil(len(data.rows) / self._size)
        self._order: tuple[int, NDArray[np.int64]] = (0, data.rows)

    def locate(self, step: int) -> tuple[int, int, TrainingData, NDArray[np.int64]]:
        """See `Batches.locate`."""
        before, position = divmod(step - 1, self.steps_per_epoch)
        if self._order[0] != before + 1:
            order = epoch_order(self._data.rows, self._seed, before + 1, shuffle=self._shuffle)
            self._order = before + 1, order
        rows = self._order[1][position * self._size : (position + 1) * self._size]
        return before + 1, position, self._data, rows


def _another(key: str, was_given: bool, is_given: bool) -> UsageError:
    """Return the error for a part of the data that is not that of the training."""
    told = f"the {key} handed in is not that of the training: its fingerprint is another one"
    hint = "hand in the data as it was; the stored weights can be read without it"
    if was_given and not is_given:
        told = f"the training weighed its rows, and no {key} is handed in"
        hint = (
            f"hand in (X, y, {key}); of learning.fit weights that classes were given by number are a part of it; {hint}"
        )
    elif not was_given:
        told = f"the training did not weigh its rows, and {key} is handed in"
        hint = f"hand in (X, y); {hint}"
    return UsageError(told, where="argument data", hint=hint)


class PassBatches(Batches):
    """The steps of calls of `partial_fit`: each learned from rows of its own, once.

    Args:
        passes: The events of the passes.
        seed: Of the order of the rows.
        data: What the calls learned from, in any order; each is found by its fingerprint.

    Raises:
        FormatError: A pass is not described.
        UsageError: No call learned from anything that is handed in.
    """

    def __init__(self, passes: Sequence[Mapping[str, Any]], seed: int, data: Sequence[TrainingData]) -> None:
        self._seed = seed
        known = {pass_identity(one): one for one in data}
        try:
            self._passes = sorted((_Pass.of(one) for one in passes), key=lambda one: one.first_step)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"a pass is not described: {error}") from None
        self._first_steps = [one.first_step for one in self._passes]
        self._data = {one.number: known[one.identity] for one in self._passes if one.identity in known}
        if not self._data:
            raise UsageError(
                f"none of the {len(self._passes)} calls of partial_fit learned from what is handed in "
                f"({len(data)} calls): the fingerprints are others",
                where="argument data",
                hint=_HAND_IN,
            )
        self._order: tuple[int, NDArray[np.int64]] = (0, np.empty(0, np.int64))

    def _pass_of(self, step: int) -> _Pass | None:
        place = bisect.bisect_right(self._first_steps, step) - 1
        found = self._passes[place] if place >= 0 else None
        return found if found is not None and step < found.first_step + found.steps else None

    def has(self, first: int, last: int) -> bool:
        """See `Batches.has`."""
        step = first
        while step <= last:
            one = self._pass_of(step)
            if one is None or one.number not in self._data:
                return False
            step = one.first_step + one.steps
        return True

    def missing(self) -> list[tuple[int, int]]:
        """See `Batches.missing`; steps that no call describes are such too."""
        found, following = [], 1
        for one in self._passes:
            if one.first_step > following:
                found.append((following, one.first_step - 1))
            following = one.first_step + one.steps
            if one.number not in self._data:
                found.append((one.first_step, following - 1))
        return [*found, (following, _NO_END)]

    def locate(self, step: int) -> tuple[int, int, TrainingData, NDArray[np.int64]]:
        """See `Batches.locate`.

        Raises:
            NotFoundError: What the call of this step learned from was not handed in.
        """
        one = self._pass_of(step)
        if one is None:
            raise NotFoundError(f"it is not recorded what step {step} learned from", hint="stored states can be read")
        if one.number not in self._data:
            raise NotFoundError(
                f"step {step} belongs to call {one.number} of partial_fit (steps {one.first_step} to "
                f"{one.first_step + one.steps - 1}), and what it learned from is not handed in",
                where="argument data",
                hint=_HAND_IN,
            )
        data = self._data[one.number]
        if self._order[0] != one.number:
            self._order = one.number, pass_order(len(data.X), self._seed, one.number)
        position = step - one.first_step
        rows = self._order[1][position * one.batch_size : (position + 1) * one.batch_size]
        return one.number, position, data, rows


_NO_END = 2**62
_HAND_IN = (
    "hand in what each call was given: neuronwise.open(RUN, data=[(X, y), …]); stored states can be read without it"
)


@dataclass(frozen=True)
class _Pass:
    """A call of `partial_fit` as its event describes it, none of which is trusted."""

    first_step: int
    steps: int
    number: int
    batch_size: int
    identity: tuple[str | None, ...]

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> _Pass:
        counts = [event[key] for key in ("first_step", "steps", "number", "batch_size")]
        if not all(type(count) is int and count > 0 for count in counts):
            raise ValueError(f"counts from 1 are expected, got {counts!r:.100}")
        first_step, steps, number, batch_size = counts
        return cls(first_step, steps, number, batch_size, _identity(event["data"]))


def describe_pass(data: TrainingData) -> dict[str, Any]:
    """Return sizes and fingerprints of what a call of `partial_fit` learns from, as JSON values."""
    every = data_identity(data.X, data.y, data.weights, data.rows[:0], None)
    return {key: every[key] for key in ("X", "y", "sample_weight")}


def pass_identity(data: TrainingData) -> tuple[str | None, ...]:
    """Return what tells apart what calls of `partial_fit` learned from."""
    return _identity(describe_pass(data))


def _identity(described: Mapping[str, Any]) -> tuple[str | None, ...]:
    return tuple(
        None if described[key] is None else str(described[key]["fingerprint"]) for key in ("X", "y", "sample_weight")
    )
