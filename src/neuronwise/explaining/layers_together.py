"""How the layers of a network work together: what each adds, and what they come to without their bends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuronwise.explaining.collapse import Collapsed
from neuronwise.explaining.layer_probe import LayersAdded
from neuronwise.explaining.result import Block, Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LayersTogether(Explanation):
    """What each layer adds, and the one layer that they are without activation functions.

    Attributes:
        added: What each layer adds, over time.
        collapsed: The layers as one; None where they cannot be.
        why_not: Why not, or ``""``.
        row: What both answer to the row that was asked for, as in `Collapsed.examples`; None for no row.
    """

    added: LayersAdded
    collapsed: Collapsed | None
    why_not: str = ""
    row: tuple[int, str, str, str] | None = None

    def blocks(self) -> list[Block]:
        """What each layer adds, then the collapse."""
        blocks = self.added.blocks()
        blocks += [self.why_not] if self.collapsed is None else self.collapsed.blocks()
        if self.row is not None:
            number, bent, straight, right = self.row
            blocks.append(
                f"row {number:,}: the network says {bent}, without bends it would be {straight}; right: {right}"
            )
        return blocks

    def figure(self) -> Figure:
        """What each layer adds, a line for each step."""
        return self.added.figure()
