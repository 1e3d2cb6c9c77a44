"""A watched model as the front end needs it: its modules in order, where their parameters lie, what follows what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from neuronwise.recording.layout import Layout

# What a class of PyTorch's own is called by people.
_KINDS = {"NonDynamicallyQuantizableLinear": "Linear", "MultiheadAttention": "attention: q, k, v"}
_MOST_MODULES, _MOST_LINKS, _MOST_TEXT = 4_000, 20_000, 300


def describe_modules(layout: Layout, why: str, graph: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the modules that a recording has, as layers without a forward pass.

    Args:
        layout: Of the recording.
        why: Why the page cannot compute answers.
        graph: What the watcher saw of the autograd graph; None: nothing, the modules then stand in their order.
    """
    layers = []
    names = list(layout.layers)[:_MOST_MODULES]
    for name in names:
        layer = layout.layers[name]
        layers.append(
            {
                "kind": _KINDS.get(layer.kind, layer.kind)[:100],
                "name": name[:_MOST_TEXT],
                "input_shape": [],
                "output_shape": [layer.neurons],
                "activation": layer.activation,
                "activation_formula": None,
                "algebra": "",
                "formula": "",
                "parameter_count": sum(place.size for place in layer.parameters.values()),
                "neurons": layer.neurons,
                "every": layer.every,
                "weights": layer.weights,
                "biases": layer.biases,
                "channel_axis": None,
                "parameters": {
                    key: {"offset": place.offset, "shape": list(place.shape)} for key, place in layer.parameters.items()
                },
                "buffers": {},
            }
        )
    links, skips = _links(names, graph)
    count = len(layout.layers)
    return {
        "answers": False,
        "why": why[:2_000],
        "input_shape": [0],
        "layers": layers,
        "links": links,
        "skips": skips,
        "seen": graph is not None,
        "parameter_count": layout.parameter_count,
        "buffer_count": layout.buffer_count,
        "sizes": f"{count:,} module{'s' * (count != 1)} with parameters"
        + (f", the first {_MOST_MODULES:,} here" if count > _MOST_MODULES else ""),
    }


def _links(names: list[str], graph: Mapping[str, Any] | None) -> tuple[list[list[int]], list[list[int]]]:
    """Return which module gets its input from which: pairs of places, and beside them those that skip others.

    The graph names for each weight all that it depends on with no other weight in between; of a residual stream those
    are all blocks before. A pair is a skip if the second is reached from the first through others too.
    """
    if graph is None:
        return [[k, k + 1] for k in range(len(names) - 1)], []
    place = {name: k for k, name in enumerate(names)}
    owners: dict[str, int] = {}
    follows: dict[int, set[int]] = {}
    for one in _mappings(graph.get("layers")):
        name = _module(str(one.get("name")), str(one.get("weight")), place)
        if name is not None:
            owners[str(one.get("weight"))] = place[name]
    for one in _mappings(graph.get("layers")):
        to = owners.get(str(one.get("weight")))
        if to is None:
            continue
        before = one.get("follows")
        found = {owners[str(weight)] for weight in before if str(weight) in owners} if isinstance(before, list) else ()
        follows.setdefault(to, set()).update(k for k in found if k != to)
    links, skips = [], []
    reach: dict[int, set[int]] = {}
    for to, before in follows.items():
        through = set[int]()
        for source in before:
            through |= _before(source, follows, reach)
        links += [[source, to] for source in sorted(before - through)]
        # Of all blocks before on a residual stream the nearest says it: that what is added comes past this module.
        if passed := sorted(before & through):
            skips.append([passed[-1], to])
    return links[:_MOST_LINKS], skips[:_MOST_LINKS]


def _module(name: str, weight: str, place: Mapping[str, int]) -> str | None:
    """Return the layer of a recording that a weight belongs to; None if it is not recorded."""
    for candidate in (name, weight, weight.rpartition(".")[0]):
        if candidate in place:
            return candidate
    return None


def _before(start: int, follows: Mapping[int, set[int]], known: dict[int, set[int]]) -> set[int]:
    """Return all modules that one depends on, itself not among them."""
    if start not in known:
        found, stack = set[int](), list(follows.get(start, ()))
        while stack:
            one = stack.pop()
            if one not in found:
                found.add(one)
                stack += known[one] if one in known else follows.get(one, ())
        known[start] = found - {start}
    return known[start]


def _mappings(values: object) -> Iterable[Mapping[str, Any]]:
    return [one for one in values if isinstance(one, Mapping)] if isinstance(values, list) else []
