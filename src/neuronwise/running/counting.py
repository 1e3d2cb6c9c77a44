"""How many weights and biases a network has, without taking memory for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuronwise.errors import NotFoundError
from neuronwise.network import Dense, Summary, layer_names, read_json, read_layers, summarize_layers


def count_parameters(sizes: Sequence[int], hidden: str = "relu", output: str = "identity") -> Summary:
    """Return the summary of a network of dense layers: ``count_parameters([784, 16, 16, 10])``.

    Args:
        sizes: Inputs, neurons of each hidden layer, outputs.
        hidden: Activation of the hidden layers.
        output: Activation of the output layer.
    """
    layers = [*(Dense(units, hidden) for units in sizes[1:-1]), Dense(sizes[-1], output)]
    shape: tuple[int, ...] = (sizes[0],)
    for layer, name in zip(layers, layer_names(layers), strict=True):
        layer.build(shape, name)
        shape = layer.output_shape
    return summarize_layers((sizes[0],), layers)


def count_network_file(path: str | Path) -> Summary:
    """Return the summary of the network that a JSON file describes.

    Raises:
        NotFoundError: There is no such file.
        FormatError: It describes no network; the message names the key.
    """
    if not Path(path).is_file():
        raise NotFoundError(f"there is no file {str(path)!r}", where="argument network")
    description = read_json(Path(path), "network")
    layers = read_layers(description, str(path))
    return summarize_layers(tuple(description["input_shape"]), layers)
