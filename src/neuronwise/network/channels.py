"""Which axis of a layer's outputs tells its neurons apart: units of a vector, channels of a picture."""

from __future__ import annotations

from collections.abc import Sequence

from neuronwise.network.layers import Layer


def neuron_axes(layers: Sequence[Layer]) -> list[int | None]:
    """Return, for each built layer, the axis of its neurons in a batch of its outputs, (batch, *output_shape).

    None stands for a picture without an axis of channels, (batch, rows, columns): all places belong to one neuron.
    A layer that does not say where its channels are, such as a lone activation, has them where those before it do.
    """
    axes: list[int | None] = []
    data_format = "channels_last"
    for layer in layers:
        data_format = getattr(layer, "data_format", data_format)
        dimensions = len(layer.output_shape)
        if dimensions == 2:
            axes.append(None)
        else:
            axes.append(1 if dimensions == 1 or data_format == "channels_first" else dimensions)
    return axes


def neuron_counts(layers: Sequence[Layer]) -> list[int]:
    """Return, for each built layer, how many neurons are told apart; a filter counts once, wherever it looks."""
    axes = neuron_axes(layers)
    return [1 if axis is None else layer.output_shape[axis - 1] for axis, layer in zip(axes, layers, strict=True)]
