"""What a neuron sees, against a NaN that is put into each pixel in turn."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.receptive_fields import receptive_field
from neuronwise.network import (
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Network,
)

STACKS: dict[str, list[Layer]] = {
    "one": [Conv2D(2, 3, "identity")],
    "padded": [Conv2D(2, 5, "identity", padding=2)],
    "same with a stride": [Conv2D(2, 4, "identity", padding="same", stride=2)],
    "oblong": [Conv2D(1, (3, 2), "identity", stride=(2, 1), padding=(1, 0)), Conv2D(2, (1, 4), "identity")],
    "two and pooling": [
        Conv2D(2, 3, "identity", padding="same"), AveragePool2D(2), BatchNorm(), Dropout(0.5),
        Conv2D(2, 3, "identity", padding=1), ActivationLayer("identity"),
    ],
    "strides that skip": [Conv2D(1, 2, "identity", stride=3), Conv2D(1, 2, "identity")],
}  # fmt: skip


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", STACKS)
def test_pixels_that_reach_a_neuron_are_those_of_its_window(name: str, data_format: str) -> None:
    layers = [one.unbuilt() for one in STACKS[name]]
    for one in layers:
        if hasattr(one, "data_format"):
            one.data_format = data_format
    shape = (11, 13, 1) if data_format == "channels_last" else (1, 11, 13)
    network = Network(layers, input_shape=shape, seed=3)
    for layer in network.layers:
        if "W" in layer.parameters:
            layer.parameters["W"][...] = 1.0
    field = receptive_field(network, network.layers[-1].name)
    pictures = np.zeros((11 * 13, 11, 13), np.float32)
    for pixel, (row, column) in enumerate(np.ndindex(11, 13)):
        pictures[pixel, row, column] = np.nan
    a = network.predict(pictures.reshape(-1, *shape))
    reached = np.isnan(a)[..., 0] if data_format == "channels_last" else np.isnan(a)[:, 0]
    assert field.places == reached.shape[1:]
    for place in np.ndindex(*field.places):
        seen = reached[:, place[0], place[1]].reshape(11, 13)
        rows, columns = field.window(*place)
        inside = np.zeros((11, 13), bool)
        inside[rows, columns] = True
        if name == "strides that skip":  # a window with holes: its ends are right, and nothing is outside
            assert not (seen & ~inside).any()
            assert seen[rows.start, columns.start]
            assert seen[rows.stop - 1, columns.stop - 1]
        else:
            np.testing.assert_array_equal(seen, inside)


def test_a_known_network() -> None:
    network = Network(
        [Conv2D(8, 5), AveragePool2D(2), Conv2D(16, 5), AveragePool2D(2), Flatten(), Dense(10)], input_shape=(28, 28)
    )
    field = receptive_field(network, "conv2")
    assert (field.size, field.step, field.first, field.places) == ((14, 14), (2, 2), (0, 0), (8, 8))
    assert field.words == (
        "each neuron of conv2 sees 14 × 14 pixels of the picture's 28 × 28, 2 further for each place of its 8 × 8 map"
    )
    with pytest.raises(NotFoundError, match=r"no place \(8, 0\)"):
        field.window(8, 0)


def test_layers_without_places_are_refused() -> None:
    network = Network([Conv2D(2, 3), Flatten(), Dense(3), Dense(2)], input_shape=(8, 8))
    for layer in ("flatten1", "hidden1", "output"):
        with pytest.raises(UsageError, match="no layer of maps"):
            receptive_field(network, layer)
    with pytest.raises(NotFoundError):
        receptive_field(network, "conv7")
    still = Network([BatchNorm(), Conv2D(2, 3), Flatten(), Dense(2)], input_shape=(8, 8, 1))
    with pytest.raises(UsageError, match="looks through no window"):
        receptive_field(still, still.layers[0].name)
