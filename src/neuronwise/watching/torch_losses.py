"""What is seen of the loss: its value at every step, and now and then what its targets look like."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_hooks import BackwardMark
from neuronwise.watching.torch_values import is_wrapped, tensors_in

if TYPE_CHECKING:
    import torch

# Of more classes only how many there are is told.
_MAX_CLASSES = 100
# How many nodes of an autograd graph are looked through.
_MAX_NODES = 100_000

OWN_LOSS = "the model's own"
"""Stands for the name of the function where the loss is the one that the model returns."""


class LossSeen:
    """Takes in the calls of a loss function between two steps.

    Of several calls within a step those count whose backward pass has run: the mean over the backward passes (of
    gradients that are accumulated) of what was added up for each. Which calls that are is seen at recorded steps;
    between them it is the last ones, as many as at recorded steps.

    Attributes:
        kind: Its name, ``"CrossEntropyLoss"`` or ``"cross_entropy"``; None before it was called.
        is_final: Whether the loss of this step is known, and later calls within it do not count.
        unused: How many steps were tried before the one that `take` was asked about last, by the calls that no backward
            pass or no step followed.
        odd: The type of what it returned, where that is no tensor; None as long as it is one.
    """

    def __init__(self) -> None:
        self.kind: str | None = None
        self.is_final = False
        self.unused = 0
        self.odd: str | None = None
        self._values: list[float | torch.Tensor] = []
        self._arguments: tuple[Any, ...] = ()
        self._follows = False
        self._used: dict[int, int] = {}
        # Calls and backward passes of a step, where all recorded ones have the same.
        self._usual: tuple[int, int] | None = None
        self._varies = False

    def see(self, kind: str, arguments: tuple[Any, ...], value: Any, keep: bool, follow: bool = False) -> None:
        """Take in a call. Of what has no gradient, as in an evaluation, it does not count.

        Called in every step, where nothing of it is in the processor's caches: each call in here may take microseconds.

        Args:
            kind: Name of the function.
            arguments: What it was called with.
            value: What it returned.
            keep: Whether the arguments are to be described.
            follow: Whether to see if its backward pass runs.
        """
        if self.is_final or not getattr(value, "requires_grad", False):
            if self.odd is None and not hasattr(value, "requires_grad"):
                self.odd = type(value).__name__
            return
        try:
            kept = value.item() if not value.ndim and value.is_cpu else value.detach()
        except RuntimeError:
            if is_wrapped(value):
                return  # there is no such number outside of it
            raise
        self.kind = kind
        if follow and not is_wrapped(value):
            value.register_hook(BackwardMark(self._used, len(self._values)))
            self._follows = True
        self._values.append(kept)
        if keep:  # not the graph of what was predicted, which would be kept alive
            self._arguments = tuple(one.detach() for one in itertools.islice(tensors_in(arguments), 2))

    @property
    def last(self) -> float | torch.Tensor | None:
        """The value of the last call; None if there was none since the last step."""
        return self._values[-1] if self._values else None

    def take(self) -> float | torch.Tensor | None:
        """Return the value of this step, and begin the next; None if it was not called.

        A tensor is one on a GPU, of which the value is not asked yet: that would wait for it.
        """
        values, self._values, self.is_final, self.unused = self._values, [], False, 0
        if not values:
            return None
        if not self._follows and len(values) == 1 and isinstance(values[0], float):  # as nearly always
            return values[0]
        used, self._used, follows, self._follows = self._used, {}, self._follows, False
        if follows and used:
            self.unused = -(-(len(values) - len(used)) // len(used))
            values = [values[place] for place in sorted(used)]
            backwards = len(set(used.values()))
            found = len(values), backwards
            self._varies = self._varies or self._usual not in (None, found)
            self._usual = found
        else:
            calls, backwards = self._usual or (1, 1)
            if len(values) > calls and not self._varies and self._usual is not None:
                self.unused = -(-(len(values) - calls) // calls)
                values = values[-calls:]
            backwards = max(1, round(len(values) * backwards / calls))
        means = [value if isinstance(value, float) else _mean(value) for value in values]
        return sum(means[1:], means[0]) / backwards

    def forget(self) -> None:
        """Forget the calls of this step."""
        self._values, self._follows = [], False
        self._used = {}

    def describe(self) -> dict[str, Any]:
        """Return what predictions and targets of the last call look like, as JSON values; waits for a GPU."""
        found: dict[str, Any] = {"function": self.kind}
        for name, tensor in zip(("prediction", "target"), tensors_in(self._arguments), strict=False):
            found[name] = _describe(tensor)
        self._arguments = ()
        return found


class OwnLoss:
    """Finds the loss in what a model returns, as transformers do that are given the targets too.

    Attributes:
        is_wanted: Whether it counts: not where the loss is observed, or logged by the loop.
    """

    def __init__(self, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        self._is_only_number = False

    def find(self, output: Any) -> torch.Tensor | None:
        """Return what the model calls ``loss``, or the only number that it returns if all else goes into it.

        None where there is none: another number may be an energy, of which the loss is made outside, or a part of it.
        """
        tensors = [one for one in tensors_in(output) if one.requires_grad and not is_wrapped(one)]
        numbers = [one for one in tensors if not one.ndim]
        if not numbers:
            return None
        named = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if any(one is named for one in numbers):
            return named
        others = [one for one in tensors if one.ndim]
        if len(numbers) != 1 or not others:
            return None
        self._is_only_number = self._is_only_number or _go_into(others, numbers[0])
        return numbers[0] if self._is_only_number else None


def _go_into(tensors: Sequence[torch.Tensor], number: torch.Tensor) -> bool:
    """Return whether a number was computed from all of these tensors."""
    wanted = {one.grad_fn for one in tensors}
    stack: list[Any] = [number.grad_fn]
    seen = set(stack)
    for node in stack:  # which grows
        wanted.discard(node)
        if not wanted or len(seen) > _MAX_NODES:
            break
        for following, _ in getattr(node, "next_functions", ()):
            if following is not None and following not in seen:
                seen.add(following)
                stack.append(following)
    return not wanted


def _mean(value: torch.Tensor) -> float | torch.Tensor:
    return float(value.mean()) if value.is_cpu else value.mean()


def _describe(tensor: torch.Tensor) -> dict[str, Any]:
    import torch

    tensor = tensor.detach()
    found: dict[str, Any] = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    if not tensor.numel():
        return found
    if tensor.is_floating_point():
        finite = tensor[tensor.isfinite()]
        found["nonfinite"] = tensor.numel() - finite.numel()
        if finite.numel():
            found |= {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.double().mean())}
    elif not tensor.is_complex():
        found |= {"min": int(tensor.min()), "max": int(tensor.max())}
        classes, counts = torch.unique(tensor, return_counts=True)
        found["classes"] = len(classes)
        if len(classes) <= _MAX_CLASSES:
            found["counts"] = {str(int(one)): int(count) for one, count in zip(classes, counts, strict=True)}
    return found
