"""What is seen of the loss: its value at every step, and now and then what its targets look like."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_layers import tensors_in

if TYPE_CHECKING:
    import torch

# Of more classes only how many there are is told.
_MAX_CLASSES = 100


class LossSeen:
    """Takes in the calls of a loss function between two steps.

    Several calls within a step, as where gradients are accumulated, give the mean of their values.

    Attributes:
        kind: Its name, ``"CrossEntropyLoss"`` or ``"cross_entropy"``; None before it was called.
        is_final: Whether the loss of this step is known, and later calls within it do not count.
    """

    def __init__(self) -> None:
        self.kind: str | None = None
        self.is_final = False
        self._values: list[float | torch.Tensor] = []
        self._arguments: tuple[Any, ...] = ()

    def see(self, kind: str, arguments: tuple[Any, ...], value: Any, keep: bool) -> None:
        """Take in a call. Of what has no gradient, as in an evaluation, it does not count.

        Called in every step, where nothing of it is in the processor's caches: each call in here may take microseconds.

        Args:
            kind: Name of the function.
            arguments: What it was called with.
            value: What it returned.
            keep: Whether the arguments are to be described.
        """
        if self.is_final or not getattr(value, "requires_grad", False):
            return
        self.kind = kind
        self._values.append(value.item() if not value.ndim and value.is_cpu else value.detach())
        if keep:  # not the graph of what was predicted, which would be kept alive
            self._arguments = tuple(one.detach() for one in itertools.islice(tensors_in(arguments), 2))

    def take(self) -> float | torch.Tensor | None:
        """Return the value of this step, and begin the next; None if it was not called.

        A tensor is one on a GPU, of which the value is not asked yet: that would wait for it.
        """
        values, self._values, self.is_final = self._values, [], False
        if not values:
            return None
        if len(values) == 1 and isinstance(values[0], float):  # as nearly always
            return values[0]
        means = [value if isinstance(value, float) else _mean(value) for value in values]
        return means[0] if len(means) == 1 else sum(means[1:], means[0]) / len(means)

    def describe(self) -> dict[str, Any]:
        """Return what predictions and targets of the last call look like, as JSON values; waits for a GPU."""
        found: dict[str, Any] = {"function": self.kind}
        for name, tensor in zip(("prediction", "target"), tensors_in(self._arguments), strict=False):
            found[name] = _describe(tensor)
        self._arguments = ()
        return found


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
