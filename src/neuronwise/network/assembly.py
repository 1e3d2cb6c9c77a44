"""The parts that a network is put together from: names of layers, views of flat arrays, checked shapes and names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network.buffers import empty_buffer
from neuronwise.network.layers import Layer, Shape

Array = NDArray[np.floating[Any]]

_MAX_AXES = 32  # NumPy's own limit, 64, less the batch and some room
_LAYER_NAME = re.compile(r"[^\[\]\s/]{1,100}")


def layer_names(layers: Sequence[Layer]) -> list[str]:
    """Return the name of each layer: the given one, else ``hidden1``, ``conv1`` … and ``output`` for the last.

    Raises:
        UsageError: A name is used twice or cannot be one.
    """
    counts: dict[str, int] = {}
    names: list[str] = []
    used: set[str] = {"input"}
    for position, layer in enumerate(layers):
        counts[layer.prefix] = counts.get(layer.prefix, 0) + 1
        default = "output" if position == len(layers) - 1 else f"{layer.prefix}{counts[layer.prefix]}"
        name = layer.given_name or default
        if name in used or not name.isprintable() or not _LAYER_NAME.fullmatch(name):
            why = "is used twice" if name in names else "cannot be used"
            raise UsageError(
                f"the layer name {name!r:.100} {why}",
                where=f"layer {position}",
                hint="names are unique, not 'input', and have no space, bracket or slash",
            )
        names.append(name)
        used.add(name)
    return names


def copied(values: Array) -> Array:
    """Return a copy that begins at a cache line."""
    own = empty_buffer(values.shape, values.dtype)
    np.copyto(own, values)
    return own


def views_of(flat: Array, shapes: list[dict[str, Shape]]) -> list[dict[str, Array]]:
    """Return views of a flat array: those of the first layer first, each in its shape."""
    views: list[dict[str, Array]] = []
    offset = 0
    for own in shapes:
        views.append({})
        for key, shape in own.items():
            size = math.prod(shape)
            views[-1][key] = flat[offset : offset + size].reshape(shape)
            offset += size
    return views


def check_shape(input_shape: int | Sequence[int]) -> Shape:
    """Return the shape of an input as a tuple; raise UsageError where it cannot be one."""
    sizes = tuple(input_shape) if isinstance(input_shape, (Sequence, np.ndarray)) else (input_shape,)
    if len(sizes) > _MAX_AXES:
        raise UsageError(f"an input has at most {_MAX_AXES} axes, got {len(sizes)}", where="argument input_shape")
    valid = sizes and all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in sizes)
    if not valid:
        raise UsageError(
            f"the shape of an input is made of whole numbers from 1, got {input_shape!r}",
            where="argument input_shape",
        )
    return tuple(int(n) for n in sizes)


def check_names(names: Sequence[str] | None, count: int, argument: str) -> list[str] | None:
    """Return the names as a list; raise UsageError where they are no text or not so many."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, (Sequence, np.ndarray)) or len(names) != count:
        found = repr(names)[:100] if isinstance(names, str) or not hasattr(names, "__len__") else len(names)
        raise UsageError(f"expected {count} names, got {found}", where=f"argument {argument}")
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"names must be text, got {name!r:.100}", where=f"argument {argument}")
    return list(names)
