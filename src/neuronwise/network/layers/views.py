"""The neurons of a layer as views: they hold no numbers of their own.

A neuron of a dense layer is a row of W. A neuron of a convolution is a filter (`Channel`), and at each place of the
picture it is a neuron with the inputs of one patch (`PlacedNeuron`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network.activations import Activation
from neuronwise.network.layers.base import Array
from neuronwise.network.neuron import NeuronBase, NeuronExplanation

if TYPE_CHECKING:
    from neuronwise.network.layers.conv2d import Conv2D
    from neuronwise.network.layers.dense import Dense


class NeuronView(NeuronBase):
    """A neuron of a layer: it holds no numbers of its own, so it always shows the present ones."""

    def __init__(self, layer: Dense | Conv2D, index: int) -> None:
        self._layer, self.index = layer, index

    @property
    def weights(self) -> Array:
        """Row `index` of W, (n_in,): a view; changing it changes the network."""
        row: Array = self._layer.W[self.index]
        return row

    @property
    def bias(self) -> float:
        """Its bias."""
        return float(self._layer.b[self.index])

    @bias.setter
    def bias(self, value: float) -> None:
        self._layer.b[self.index] = value

    @property
    def activation(self) -> Activation:
        """The activation function of the layer."""
        return self._layer.activation

    @property
    def name(self) -> str:
        """``hidden1[7]``."""
        return f"{self._layer.name}[{self.index}]"

    @property
    def input_names(self) -> Sequence[str]:
        """Names of the features, or of the neurons of the layer below."""
        return self._layer.input_names

    def _level(self, x: Array, z: Array) -> Array:
        if self.activation.name != "softmax":
            return self.activation(z)
        # A softmax level depends on the z of all neurons of the layer.
        every_z: Array = x @ self._layer.W.T + self._layer.b
        level: Array = np.ascontiguousarray(self.activation(every_z)[:, self.index])
        return level

    def __repr__(self) -> str:
        return f"<neuron {self.name}: {len(self.weights)} inputs, bias {self.bias:.4g}, {self.activation.name}>"


class Neurons(Sequence[NeuronView]):
    """The neurons of a layer, as a sequence of views."""

    def __init__(self, layer: Dense | Conv2D, count: int) -> None:
        self._layer, self._count = layer, count

    def __len__(self) -> int:
        return self._count

    def _view(self, index: int) -> NeuronView:
        return NeuronView(self._layer, index)

    @overload
    def __getitem__(self, index: int) -> NeuronView: ...
    @overload
    def __getitem__(self, index: slice) -> list[NeuronView]: ...
    def __getitem__(self, index: int | slice) -> NeuronView | list[NeuronView]:
        n = len(self)
        if isinstance(index, slice):
            return [self._view(i) for i in range(*index.indices(n))]
        if not -n <= index < n:
            # IndexError, not NotFoundError: Python's sequence protocol ends an iteration by it.
            raise IndexError(f"layer {self._layer.name} has {n} neurons, 0 to {n - 1}, got {index}")
        return self._view(int(index) % n)

    def __iter__(self) -> Iterator[NeuronView]:
        return (self._view(i) for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} neurons of {self._layer.name}>"


class Channel(NeuronView):
    """A filter of a convolution: one neuron's weights, at work at every place of the picture.

    Called on an input of the layer, (*input_shape) or a batch of them, it returns its map of activation levels, (rows,
    columns) or (batch, rows, columns). `at` gives the neuron at one place.
    """

    _layer: Conv2D

    @property
    def weights(self) -> Array:
        """W[index], (channels, kernel_rows, kernel_columns): a view; changing it changes the network."""
        return super().weights

    @property
    def input_names(self) -> Sequence[str]:
        """A name for each weight, channel, row and column in the patch: ``patch[0] @ (2, 1)``; in the order of W."""
        shape = self.weights.shape
        return [f"patch[{c}] @ ({i}, {j})" for c, i, j in np.ndindex(shape)]

    def at(self, row: int, column: int) -> PlacedNeuron:
        """Return the neuron at one place of the output.

        Raises:
            NotFoundError: The output has no such place.
        """
        rows, columns = (axis.places for axis in self._layer.axes(self._layer.input_shape))
        for place, count in ((row, rows), (column, columns)):
            if not isinstance(place, (int, np.integer)) or not 0 <= place < count:
                raise NotFoundError(
                    f"there is no place ({row}, {column}): {self._layer.name} has {rows} × {columns} places, "
                    f"(0, 0) to ({rows - 1}, {columns - 1})",
                    where=f"neuron {self.name}",
                )
        return PlacedNeuron(self._layer, self.index, int(row), int(column))

    def z(self, x: ArrayLike) -> Any:
        """Return the map of weighted sums plus bias, (rows, columns), or (batch, rows, columns) for a batch.

        Raises:
            UsageError: `x` has another shape than the layer's input, or is not numeric.
        """
        inputs = _pictures(self._layer, x, self.name)
        single = inputs.ndim == len(self._layer.input_shape)
        one = self._layer.start(inputs[None] if single else inputs, None)
        with np.errstate(all="ignore"):
            one.forward()
        axis = 0 if self._layer.data_format == "channels_first" else 2
        maps = np.ascontiguousarray(one.z.take(self.index, axis=axis + 1))
        return maps[0] if single else maps

    def __call__(self, x: ArrayLike) -> Any:
        """Return the map of activation levels, (rows, columns), or (batch, rows, columns) for a batch."""
        return self.activation(self.z(x))

    def explain(self, x: ArrayLike) -> NeuronExplanation:
        """Refuse: a sum belongs to a place.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "a filter has a sum at each place of the picture, not one",
            where=f"neuron {self.name}",
            hint=f'choose a place: network["{self.name}"].at(0, 0).explain(x)',
        )

    def __repr__(self) -> str:
        channels, rows, columns = self.weights.shape
        return (
            f"<neuron {self.name}: {rows} × {columns} pixels of {channels} channels, bias {self.bias:.4g}, "
            f"{self.activation.name}>"
        )


class Channels(Neurons):
    """The filters of a convolution, as a sequence of views."""

    _layer: Conv2D

    @overload
    def __getitem__(self, index: int) -> Channel: ...
    @overload
    def __getitem__(self, index: slice) -> list[NeuronView]: ...
    def __getitem__(self, index: int | slice) -> Channel | list[NeuronView]:
        found = super().__getitem__(index)
        assert isinstance(found, (Channel, list))
        return found

    def _view(self, index: int) -> Channel:
        return Channel(self._layer, index)


class PlacedNeuron(NeuronView):
    """A filter of a convolution at one place: a neuron whose inputs are the pixels of one patch.

    Its inputs and weights lie channel by channel, row by row; what lies outside the picture (padding) is left out. It
    is called on an input of the layer, (*input_shape) or a batch of them, and takes its patch from it.
    """

    _layer: Conv2D

    def __init__(self, layer: Conv2D, index: int, row: int, column: int) -> None:
        super().__init__(layer, index)
        self.row, self.column = row, column
        # Which pixels of the kernel lie on the picture, and which pixels of the picture lie under the kernel.
        self._kernel, self._pixels = [], []
        for axis, place in zip(layer.axes(layer.input_shape), (row, column), strict=True):
            start = place * axis.stride - axis.before
            first, last = max(start, 0), max(min(start + axis.window, axis.size), max(start, 0))
            self._kernel.append(slice(first - start, last - start))
            self._pixels.append(slice(first, last))

    @property
    def weights(self) -> Array:
        """The weights of the patch, (n_in,): a copy, as they do not lie in one row where padding is left out."""
        patch: Array = self._layer.W[self.index][:, *self._kernel].reshape(-1)
        return patch

    @property
    def name(self) -> str:
        """``conv1[7] @ (3, 4)``."""
        return f"{super().name} @ ({self.row}, {self.column})"

    @property
    def input_names(self) -> Sequence[str]:
        """Names of the pixels, or of the neurons of the layer below."""
        names = self._layer.input_names
        places = self.patch(np.arange(len(names)).reshape(self._layer.input_shape))
        return [names[i] for i in places.tolist()]

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of what it sees: at an edge with padding less than its kernel."""
        rows, columns = (pixels.stop - pixels.start for pixels in self._pixels)
        return self._layer.channels, rows, columns

    def patch(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the neuron sees of an input (*input_shape), (n_in,), or of a batch, (batch, n_in)."""
        layer = self._layer
        batch = x.reshape(-1, *layer.input_shape)
        if len(layer.input_shape) == 2:
            batch = batch[:, None]
        elif layer.data_format == "channels_last":
            batch = batch.transpose(0, 3, 1, 2)
        seen = batch[:, :, *self._pixels].reshape(len(batch), -1)
        return seen[0] if x.ndim == len(layer.input_shape) else seen

    def z(self, x: ArrayLike) -> Any:
        """Return the weighted sum plus bias: a number for one input of the layer, an array (m,) for a batch.

        Raises:
            UsageError: `x` has another shape than the layer's input, or is not numeric.
        """
        return _Patch.of(self).z(self.patch(_pictures(self._layer, x, self.name)))

    def __call__(self, x: ArrayLike) -> Any:
        """Return the activation level: a number for one input of the layer, an array (m,) for a batch."""
        return _Patch.of(self)(self.patch(_pictures(self._layer, x, self.name)))

    def explain(self, x: ArrayLike) -> NeuronExplanation:
        """Return the weighted sum for one input of the layer, a term for each pixel of the patch.

        Raises:
            UsageError: `x` is a batch, or has another shape than the layer's input.
        """
        return _Patch.of(self).explain(self.patch(_pictures(self._layer, x, self.name)))


class _Patch(NeuronView):
    """A placed neuron called on its patch instead of the whole picture."""

    _owner: PlacedNeuron

    @classmethod
    def of(cls, owner: PlacedNeuron) -> _Patch:
        patch = cls(owner._layer, owner.index)
        patch._owner = owner
        return patch

    @property
    def weights(self) -> Array:
        return self._owner.weights

    @property
    def name(self) -> str:
        return self._owner.name

    @property
    def input_names(self) -> Sequence[str]:
        return self._owner.input_names


def _pictures(layer: Conv2D, x: ArrayLike, name: str) -> Array:
    """Return inputs of a layer, one or a batch, in the dtype of its weights."""
    inputs = np.asarray(x)
    if inputs.dtype.kind not in "fiub":
        raise UsageError(f"inputs must be numbers, got dtype {inputs.dtype}", where=f"neuron {name}")
    if layer.input_shape not in (inputs.shape, inputs.shape[1:]):
        expected = ", ".join(map(str, layer.input_shape))
        raise UsageError(
            f"expected an input of the layer, shape ({expected}) or (batch, {expected}), got shape {inputs.shape}",
            where=f"neuron {name}",
        )
    with np.errstate(over="ignore"):
        return inputs.astype(layer.W.dtype, copy=False)
