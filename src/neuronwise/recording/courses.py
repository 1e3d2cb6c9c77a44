"""What a recording answers with: how something went over steps, how values are spread; and what may be asked by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError


@dataclass(frozen=True)
class Course:
    """How a number, or one for each neuron or weight, went over steps.

    Attributes:
        name: What it is, ``"hidden1[7].bias"``.
        steps: The steps, ascending, (n,).
        values: Its value at each of them, (n,), or (n, neurons or weights).
    """

    name: str
    steps: NDArray[np.int64]
    values: NDArray[Any]


@dataclass(frozen=True)
class Histogram:
    """How the values of a layer are spread at a step.

    Attributes:
        counts: How many lie in each of 64 classes of equal width, (64,). Of many values a sample is counted.
        edges: The ends of the classes, ascending, (65,).
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]


def from_first_known(course: Course) -> Course:
    """Leave out step 0 where nothing is known of it: there are weights, but no gradient, update or activation yet."""
    first = 1 if len(course.steps) and course.steps[0] == 0 and np.isnan(course.values[0]) else 0
    return Course(course.name, course.steps[first:], course.values[first:])


def text(value: Any, argument: str) -> str:
    """Return a name as it is.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, str):
        raise UsageError(f"expected a name, got {value!r:.100}", where=f"argument {argument}")
    return value


def whole(step: Any) -> int:
    """Return the number of a step as an int.

    Raises:
        UsageError: It is none.
    """
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
        raise UsageError(f"expected the number of a step, got {step!r:.100}", where="argument step")
    return int(step)
