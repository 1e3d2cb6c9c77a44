"""A torch module that puts axes in another order.

It imports torch and is itself imported inside functions only: it stands in a module so that networks which hold it can
be pickled, copied and compiled like any other of torch.
"""

from __future__ import annotations

import torch
from torch import nn


class Permute(nn.Module):
    """Returns its input with the axes in the order given, as `torch.permute`: a view, no copy.

    Args:
        axes: The axes, the batch being 0: ``Permute(0, 3, 1, 2)`` brings (batch, rows, columns, channels) to (batch,
            channels, rows, columns), and ``Permute(0, 2, 3, 1)`` brings it back.
    """

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a view of `x`."""
        return x.permute(self.axes)

    def extra_repr(self) -> str:
        """The axes."""
        return ", ".join(map(str, self.axes))
