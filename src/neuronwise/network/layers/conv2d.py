"""The convolution: each filter looks at every place of a picture with the same weights."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network.activations import Activation, get_activation
from neuronwise.network.initializers import Initializer, get_initializer
from neuronwise.network.layers.base import ACTIVATION_PROPERTY, INITIALIZER_PROPERTY, Array, Shape, WeightedLayer
from neuronwise.network.layers.conv2d_pass import Conv2DPass
from neuronwise.network.layers.images import (
    DATA_FORMAT_PROPERTY,
    Axis,
    Pair,
    PlaceNames,
    check_data_format,
    check_pair,
    check_picture,
    does_not_fit,
    output_shape,
    pair_property,
    picture_shape,
)
from neuronwise.network.layers.views import Channels


class Conv2D(WeightedLayer):
    """z = W ⋆ x + b, a = f(z): the sum of a patch's pixels times the filter's weights, at every place of the picture.

    As in torch (and nearly all others) it is a cross-correlation: the kernel is not turned round.

    Args:
        filters: Number of output channels.
        kernel_size: Rows and columns of a patch; one number means both.
        activation: Activation function by name; default ``"relu"``. Not softmax, which compares whole outputs.
        stride: Pixels by which the patch moves; one number for rows and columns, or two.
        padding: Zeros around the picture: ``"valid"`` (none, the default); ``"same"``: ⌈size / stride⌉ outputs, an odd
            row or column of zeros at the bottom or right (as Keras and TensorFlow have it; torch has it for stride 1
            only); a number, or two for rows and columns, of zeros on each side (as torch).
        data_format: ``"channels_last"``, (rows, columns, channels), or ``"channels_first"``, of input and output. An
            input (rows, columns) has one channel.
        initializer: First weights; default by the activation (see `get_initializer`). Biases start at 0.
        name: Default ``conv1`` …

    Rows and columns at the end that fill no patch are left out.

    Attributes:
        W: Weights, (filters, channels, kernel_rows, kernel_columns), in either data format, as in torch: a view of the
            network's flat buffer. Assigning copies into it.
        b: Biases, (filters,): likewise.
    """

    prefix = "conv"
    properties: ClassVar[dict[str, dict[str, Any]]] = {
        "filters": {"type": "integer", "minimum": 1, "description": "number of output channels"},
        "kernel_size": pair_property(1, "rows and columns of a patch"),
        "activation": ACTIVATION_PROPERTY,
        "stride": pair_property(1, "pixels by which the patch moves"),
        "padding": {
            "type": ["string", "integer", "array"],
            "anyOf": [{"enum": ["valid", "same"]}, {"type": "integer"}, {"type": "array"}],
            "minimum": 0,
            "items": {"type": "integer", "minimum": 0},
            "minItems": 2,
            "maxItems": 2,
            "description": "valid (none), same (as many outputs as inputs at stride 1), or zeros on each side",
        },
        "data_format": DATA_FORMAT_PROPERTY,
        "initializer": INITIALIZER_PROPERTY,
    }
    required = ("filters", "kernel_size")
    activation: Activation

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair | list[int],
        activation: str | Activation = "relu",
        *,
        stride: int | Pair | list[int] = 1,
        padding: str | int | Pair | list[int] = "valid",
        data_format: str = "channels_last",
        initializer: str | dict[str, Any] | Initializer | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if isinstance(filters, bool) or not isinstance(filters, (int, np.integer)) or filters < 1:
            raise UsageError(
                f"a convolution needs a whole number of filters, at least 1, got {filters!r:.100}",
                where="argument filters",
            )
        self.filters = int(filters)
        self.kernel_size = check_pair(kernel_size, 1, "kernel_size")
        self.stride = check_pair(stride, 1, "stride")
        self.padding = _check_padding(padding)
        self.data_format = check_data_format(data_format)
        self.activation = get_activation(activation)
        if self.activation.name == "softmax":
            raise UsageError(
                "softmax compares the values of a vector, but a convolution has a picture for each filter",
                where="argument activation",
                hint='end with Flatten() and Dense(10, "softmax")',
            )
        self.initializer = get_initializer(initializer, self.activation.name)

    def _output_shape(self, input_shape: Shape) -> Shape:
        check_picture(input_shape, "Conv2D", self.name)
        rows, columns = self.axes(input_shape)
        if rows.places < 1 or columns.places < 1:
            around = "" if isinstance(self.padding, str) else f", with padding {_by(self.padding)}"
            kernel = f"a kernel of {_by(self.kernel_size)}"
            raise does_not_fit(kernel, input_shape, self.data_format, around, self.name)
        return output_shape(rows.places, columns.places, self.filters, self.data_format)

    def axes(self, input_shape: Shape) -> tuple[Axis, Axis]:
        """Return how the patch moves along rows and columns."""
        sizes = picture_shape(input_shape, self.data_format)[:2]
        window = list(zip(sizes, self.kernel_size, self.stride, strict=True))
        if self.padding == "same":
            rows, columns = (Axis.same(*one) for one in window)
        else:
            amounts = (0, 0) if isinstance(self.padding, str) else self.padding
            rows, columns = (Axis.padded(*one, amount) for one, amount in zip(window, amounts, strict=True))
        return rows, columns

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return picture_shape(self.input_shape, self.data_format)[2]

    def parameter_shapes(self) -> dict[str, Shape]:
        """W (filters, channels, kernel_rows, kernel_columns), then b (filters,)."""
        return {"W": (self.filters, self.channels, *self.kernel_size), "b": (self.filters,)}

    def initial_parameters(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Weights by the initialiser, biases 0; a neuron has the inputs of its patch, a pixel feeds a patch of them."""
        pixels = self.kernel_size[0] * self.kernel_size[1]
        shapes = self.parameter_shapes()
        W = self.initializer.draw(shapes["W"], self.channels * pixels, self.filters * pixels, rng)
        return {"W": W, "b": np.zeros(self.filters)}

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> Conv2DPass:
        """See `Layer.start`; a convolution is the same in training."""
        return Conv2DPass(self, x, gradients)

    def formula(self) -> str:
        """Filters × (kernel rows × kernel columns × channels) + filters."""
        return f"{self.filters} × ({_by(self.kernel_size)} × {self.channels}) + {self.filters}"

    def algebra(self) -> str:
        """a = f(W ⋆ x + b) with the shapes."""
        rows, columns, channels = picture_shape(self.input_shape, self.data_format)
        moved = "" if self.stride == (1, 1) else f", stride {_by(self.stride)}"
        if self.padding != "valid":
            moved += f", padding {self.padding if isinstance(self.padding, str) else _by(self.padding)}"
        return (
            f"a = {self.activation.name}(W ⋆ x + b), {self.filters} filters of {_by(self.kernel_size)} × {channels} "
            f"over {rows} × {columns}{moved}, b {self.filters}"
        )

    def unit_names(self) -> PlaceNames:
        """``conv1[7] @ (3, 4)``: filter, row and column of each output, in the order of the output's axes."""
        return PlaceNames(self.name, self.output_shape, self.data_format)

    @property
    def neurons(self) -> Channels:
        """The filters, each a view of the layer that sees later changes; a filter's `at` is a neuron at one place."""
        return Channels(self, self.filters)

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name else ""
        return f"Conv2D({self.filters}, {_by(self.kernel_size)}, {self.activation.name!r}{name})"


def _check_padding(padding: Any) -> str | Pair:
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise UsageError(
                f"expected 'valid', 'same', a whole number from 0 or two of them, got {padding!r:.100}",
                where="argument padding",
            )
        return padding
    return check_pair(padding, 0, "padding")


def _by(pair: Pair) -> str:
    return f"{pair[0]} × {pair[1]}"
