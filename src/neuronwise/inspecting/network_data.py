"""A network as the front end needs it: layers with shapes, windows, and where their parameters lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuronwise.network import AveragePool2D, BatchNorm, Conv2D, MaxPool2D, Network
from neuronwise.network.channels import neuron_axes, neuron_counts
from neuronwise.network.layers.base import type_name
from neuronwise.network.layers.images import Axis


def describe_network(network: Network, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the layers in order, each with its shapes, settings and the places of its parameters in the flat array.

    Args:
        network: The network.
        names: What layers are called instead: by the paths of their modules in the model they were made of.

    Windows of convolutions and pooling are resolved: ``{"size", "window", "stride", "before", "places"}`` for rows and
    for columns, so that padding has one meaning in the page.
    """
    offset = buffer_offset = 0
    layers = []
    axes, counts = neuron_axes(network.layers), neuron_counts(network.layers)
    for layer, axis, neurons in zip(network.layers, axes, counts, strict=True):
        entry: dict[str, Any] = {
            "kind": type_name(type(layer)),
            "name": (names or {}).get(layer.name, layer.name),
            "input_shape": list(layer.input_shape),
            "output_shape": list(layer.output_shape),
            "activation": layer.activation.name if layer.activation is not None else None,
            "activation_formula": layer.activation.formula if layer.activation is not None else None,
            "algebra": layer.algebra(),
            "formula": layer.formula(),
            "parameter_count": layer.parameter_count,
            "neurons": neurons,
            "channel_axis": None if axis is None else axis - 1,
        }
        entry["parameters"], offset = _places(layer.parameter_shapes(), offset)
        entry["buffers"], buffer_offset = _places(layer.buffer_shapes(), buffer_offset)
        if isinstance(layer, (Conv2D, MaxPool2D, AveragePool2D)):
            rows, columns = layer.axes(layer.input_shape)
            entry |= {"rows": _axis(rows), "columns": _axis(columns), "data_format": layer.data_format}
        if isinstance(layer, BatchNorm):
            entry |= {"epsilon": layer.epsilon, "data_format": layer.data_format}
        layers.append(entry)
    return {
        "answers": True,
        "input_shape": list(network.input_shape),
        "layers": layers,
        "parameter_count": network.parameter_count,
        "buffer_count": network.buffer_count,
        "sizes": str(network.sizes),
    }


def _places(shapes: dict[str, tuple[int, ...]], offset: int) -> tuple[dict[str, dict[str, Any]], int]:
    places = {}
    for key, shape in shapes.items():
        size = 1
        for n in shape:
            size *= n
        places[key] = {"offset": offset, "shape": list(shape)}
        offset += size
    return places, offset


def _axis(axis: Axis) -> dict[str, int]:
    return {
        "size": axis.size,
        "window": axis.window,
        "stride": axis.stride,
        "before": axis.before,
        "places": axis.places,
    }
