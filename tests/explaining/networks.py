"""Random networks for properties: dense and convolutional, piecewise linear, to a depth of 6 layers with weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from neuronwise.network import Network
from neuronwise.network.layers import (
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
)

STRAIGHT = ("relu", "leaky_relu", "identity")


@st.composite
def networks(draw: Any, dtype: str = "float64", activations: tuple[str, ...] = STRAIGHT) -> Network:
    """Draw a network whose parameters and buffers are all other than their first values."""
    layers: list[Layer] = []
    picture = draw(st.booleans())
    activation = st.sampled_from(activations)
    shape: tuple[int, ...] = (draw(st.integers(1, 8)),)
    weighted = 0
    if picture:
        first = draw(st.booleans())
        data_format = "channels_first" if first else "channels_last"
        sides = draw(st.integers(6, 8)), draw(st.integers(6, 8))
        channels = draw(st.integers(1, 3))
        shape = (channels, *sides) if first else (*sides, channels)
        for _ in range(draw(st.integers(1, 3))):
            stride = draw(st.sampled_from([1, 1, 2])) if not weighted else 1
            layers.append(
                Conv2D(
                    draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3])), draw(activation), stride=stride,
                    padding="same", data_format=data_format,
                )
            )  # fmt: skip
            weighted += 1
            extra = draw(st.sampled_from(["none", "max", "average", "norm", "activation"]))
            if extra in ("max", "average") and not any(isinstance(x, (MaxPool2D, AveragePool2D)) for x in layers):
                kind = MaxPool2D if extra == "max" else AveragePool2D
                layers.append(kind(2, stride=draw(st.sampled_from([1, 2])), data_format=data_format))
            elif extra == "norm":
                layers.append(BatchNorm(activation=draw(activation), data_format=data_format))
            elif extra == "activation":
                layers.append(ActivationLayer(draw(activation)))
        layers.append(Flatten())
    for _ in range(draw(st.integers(0, 5 - weighted))):
        layers.append(Dense(draw(st.integers(1, 12)), draw(activation)))
        if draw(st.booleans()):
            layers.append(draw(st.sampled_from([Dropout(0.5), BatchNorm()])).unbuilt())
    layers.append(Dense(draw(st.integers(1, 4)), "identity"))
    network = Network(layers, input_shape=shape, seed=draw(st.integers(0, 2**32)), dtype=dtype)
    rng = np.random.default_rng(network.seed)
    for layer in network.layers:
        for key, values in (layer.parameters | layer.buffers).items():
            if key == "running_var":
                values[...] = rng.uniform(0.3, 2.0, values.shape)
            elif key != "W":
                values[...] = rng.normal(0.0, 0.5, values.shape) + (key == "gamma")
    return network


def inputs(network: Network, rows: int = 3) -> np.ndarray[Any, Any]:
    """Return inputs that go with the network's seed."""
    rng = np.random.default_rng(network.seed + 1)
    return rng.normal(size=(rows, *network.input_shape)).astype(network.dtype)
