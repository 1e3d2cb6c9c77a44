"""Arguments that are numbers: checked, and refused with their name and the value received."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from neuronwise.errors import UsageError


def whole_number(value: Any, argument: str, least: int) -> int:
    """Return `value` as an int, or say which argument must be a whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UsageError(f"expected a whole number from {least}, got {value!r}", where=f"argument {argument}")
    return int(value)


def positive(value: float, argument: str) -> float:
    """Return `value` as a float, or say which argument must be above 0."""
    return _number(value, argument, "a number above 0", lambda v: v > 0)


def not_negative(value: float, argument: str) -> float:
    """Return `value` as a float, or say which argument must not be below 0."""
    return _number(value, argument, "a number from 0", lambda v: v >= 0)


def fraction(value: float, argument: str) -> float:
    """Return `value` as a float, or say which argument must lie from 0 to below 1."""
    return _number(value, argument, "a number from 0 to below 1", lambda v: 0 <= v < 1)


def share(value: float, argument: str) -> float:
    """Return `value` as a float, or say which argument must lie above 0 and below 1."""
    return _number(value, argument, "a number above 0 and below 1", lambda v: 0 < v < 1)


def _number(value: float, argument: str, wanted: str, valid: Callable[[float], bool]) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise UsageError(f"expected {wanted}, got {value!r}", where=f"argument {argument}")
    if not math.isfinite(value) or not valid(float(value)):
        hint = "the usual rates are 0.001 (Adam) and 0.1 (SGD)" if argument == "learning_rate" else None
        raise UsageError(f"expected {wanted}, got {value!r}", where=f"argument {argument}", hint=hint)
    return float(value)
