"""Errors that a user can cause, and how they are told.

Every message says what is wrong (with the value received), where (file and line, column, layer or
argument), and how to mend it. Inner code raises the fact; the outermost caller (the command line) prints
it without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any


class NeuronwiseError(Exception):
    """Base of all errors raised on purpose by Neuronwise.

    Args:
        message: What is wrong, with the value received.
        where: Where: ``"houses.csv:17, column price"``, ``"layer hidden1"``, ``"argument learning_rate"``.
        hint: How to mend it, if possible a line to type.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.where = where
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n{self.hint}" if self.hint else text


class UsageError(NeuronwiseError, ValueError):
    """An argument, option or file that cannot be used as given (exit code 2)."""

    exit_code = 2


class DataError(UsageError):
    """Data that cannot be read or learned from."""


class FormatError(UsageError):
    """A file of Neuronwise's own formats that is truncated, corrupt or hostile."""


class NotFoundError(UsageError):
    """A run, layer, neuron or file that does not exist."""


class MissingExtraError(NeuronwiseError, ImportError):
    """An optional library is needed and not installed."""


class TrackingError(NeuronwiseError):
    """The tracking store cannot be used. A training never dies of it."""


class TrainingDiverged(NeuronwiseError, ArithmeticError):
    """Training produced a loss, gradient or weight that is not finite, and was stopped.

    Attributes:
        step: The optimizer step at which it began.
        layer: Name of the first layer in which a value was not finite.
        quantity: What was not finite there: ``"z"``, ``"a"``, ``"loss"``, ``"delta"``, ``"gradient"``,
            ``"weights"`` or ``"buffers"``.
        result: The `learning.FitResult` up to there, or None.
        run: The `Run` that was kept all the same, where there is one.
    """

    def __init__(self, message: str, *, step: int, layer: str, quantity: str, hint: str | None = None) -> None:
        super().__init__(message, where=f"step {step}, layer {layer}", hint=hint)
        self.step = step
        self.layer = layer
        self.quantity = quantity
        self.result: Any = None
        self.run: Any = None

    def __reduce__(self) -> Any:
        # A search over estimators carries it from one process to another; its run stays where it is.
        given = partial(TrainingDiverged, step=self.step, layer=self.layer, quantity=self.quantity, hint=self.hint)
        return given, (self.message,), {"result": self.result}


class UnseenDataWarning(UserWarning):
    """A prediction rests on categories or values that training has never seen."""


class ReplayWarning(UserWarning):
    """A step taken again differs from what was recorded: another processor, BLAS kernel or number of threads."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ``" Did you mean 'price'?"``, or ``""`` when nothing is close.

    Upper and lower case are taken as equal, so that ``Price`` finds ``price``.
    """
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""
