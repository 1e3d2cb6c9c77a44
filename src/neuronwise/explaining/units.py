"""From the network's output to the unit of the target: money, and the factors of a target learned as a logarithm."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from neuronwise.data import TargetSpec
from neuronwise.data.columns import figure

# Signs of money that are said to have been taken off the target's cells: "($ taken off)".
_TAKEN_OFF = re.compile(r"([$€£¥]) taken off")


@dataclass(frozen=True)
class OutputUnit:
    """How a regression's output, the standardised target (after the logarithm if one was taken), becomes the target.

    Attributes:
        name: Of the target.
        mean, scale: What was subtracted and divided by.
        log: Whether the logarithm is learned, so that what is added to the output multiplies the target.
        sign: Sign of money before amounts; ``""`` where none is known.
    """

    name: str
    mean: float
    scale: float
    log: bool
    sign: str = ""

    @classmethod
    def of(cls, target: TargetSpec | None, sign: str | None = None) -> OutputUnit | None:
        """Return the unit of a regression's target; None for classes, or where the target is not known.

        Args:
            target: The target.
            sign: Sign of money; default the one that stood in the target's cells, if any.
        """
        if target is None or target.task != "regression":
            return None
        if sign is None:
            match = _TAKEN_OFF.search(target.reason)
            sign = match[1] if match else ""
        return cls(target.name, target.mean, target.scale, target.log, sign)

    def amount(self, output: float) -> float:
        """Return the target that an output stands for."""
        learned = output * self.scale + self.mean
        return _exp(learned) if self.log else learned

    def factor(self, contribution: float) -> float:
        """Return what a contribution to the output multiplies the target by; only of a logarithm."""
        return _exp(contribution * self.scale)

    def difference(self, contribution: float, output: float) -> float:
        """Return by how much the target would be smaller without a contribution to the output.

        Of a logarithm that is amount · (1 - 1 / factor), so such differences do not add up; else contribution · scale.
        """
        if not self.log:
            return contribution * self.scale
        return self.amount(output) - self.amount(output - contribution)

    def words(self, amount: float, *, signed: bool = False) -> str:
        """Return an amount in words, of three digits if it is a difference: ``$512,300``, ``+74,000``."""
        if not math.isfinite(amount):
            return str(amount)
        digits = 3 if signed else 5
        rounded = abs(round_to(amount, digits))
        before = ("−" if amount < 0 else "+" if signed else "") + self.sign
        return f"{before}{figure(rounded)}"


def round_to(value: float, digits: int) -> float:
    """Return a value rounded to so many digits that count: 0.0123, 74,000."""
    if not math.isfinite(value) or value == 0.0:
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
