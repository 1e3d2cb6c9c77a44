"""Pooling: equal to torch and to a slow second implementation, also at ties, NaN, padding and overlapping windows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network import AveragePool2D, Conv2D, Dense, Flatten, MaxPool2D, Network
from neuronwise.network.layers import pooling
from neuronwise.network.layers.images import Axis

FORMATS = ["channels_last", "channels_first"]
KINDS: list[Callable[..., Any]] = [MaxPool2D, AveragePool2D]


def _channels_second(x: NDArray, data_format: str) -> NDArray:
    if x.ndim == 3:
        return x[:, None]
    return x if data_format == "channels_first" else np.moveaxis(x, -1, 1)


def _run(layer: Any, x: NDArray, da: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Return a and dx of a layer built on the shape of x; `da` is dL/da, default all ones."""
    if not layer.is_built:
        layer.build(x.shape[1:], "pool1")
    dx = np.full_like(x, np.nan)
    one = layer.start(x, {})
    one.forward()
    one.da[...] = 1 if da is None else da
    one.backward(dx)
    return one.a, dx


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, (2, 3)])
def test_forward_and_backward_equal_torch_also_where_values_are_equal(
    size: Any, kind: Callable[..., Any], data_format: str
) -> None:
    pool = torch.nn.functional.max_pool2d if kind is MaxPool2D else torch.nn.functional.avg_pool2d
    rng = np.random.default_rng(0)
    for stride, padding, shape, dtype in itertools.product(
        [None, 1, 2, 3, (2, 1)], [0, 1, (0, 1)], [(9, 7, 3), (6, 8)], ["float64", "float32"]
    ):
        sizes, paddings = ((n, n) if isinstance(n, int) else n for n in (size, padding))
        if any(2 * p > k for p, k in zip(paddings, sizes, strict=True)):
            continue
        if data_format == "channels_first" and len(shape) == 3:
            shape = (shape[2], *shape[:2])
        x = rng.integers(0, 4, size=(5, *shape)).astype(dtype)  # few values: many ties
        layer = kind(size, stride=stride, padding=padding, data_format=data_format)
        layer.build(shape, "pool1")
        da = rng.normal(size=(5, *layer.output_shape)).astype(dtype)
        a, dx = _run(layer, x, da)
        inputs = torch.tensor(_channels_second(x, data_format), requires_grad=True)
        expected = pool(inputs, size, stride=stride, padding=padding)
        expected.backward(torch.tensor(_channels_second(da, data_format)))
        atol = 1e-12 if dtype == "float64" else 2e-6
        np.testing.assert_allclose(_channels_second(a, data_format), expected.detach(), atol=atol)
        np.testing.assert_allclose(_channels_second(dx, data_format), inputs.grad, atol=atol)
        assert a.dtype == dx.dtype == x.dtype


@st.composite
def _pools(draw: st.DrawFn) -> tuple[Any, NDArray, NDArray]:
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    layer = draw(st.sampled_from(KINDS))(
        size,
        stride=draw(st.none() | st.tuples(st.integers(1, 5), st.integers(1, 5))),
        padding=tuple(draw(st.integers(0, n // 2)) for n in size),
        data_format=draw(st.sampled_from(FORMATS)),
    )
    rows, columns = (draw(st.integers(n, n + 5)) for n in size)
    channels = draw(st.integers(1, 3))
    shape = (rows, columns, channels) if layer.data_format == "channels_last" else (channels, rows, columns)
    layer.build(shape, "pool1")
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch = draw(st.integers(1, 3))
    x = rng.integers(-2, 2, size=(batch, *shape)).astype(np.float64)
    return layer, x, rng.normal(size=(batch, *layer.output_shape))


def _slow(layer: Any, x: NDArray, da: NDArray) -> tuple[NDArray, NDArray]:
    """Return a and dx, one window at a time; x is (batch, channels, rows, columns)."""
    _, _, rows, columns = x.shape
    a, dx = np.empty_like(da), np.zeros_like(x)
    for n, c, r, q in np.ndindex(da.shape):
        window = []
        for i, j in np.ndindex(*layer.pool_size):
            row, column = r * layer.stride[0] + i - layer.padding[0], q * layer.stride[1] + j - layer.padding[1]
            if 0 <= row < rows and 0 <= column < columns:
                window.append((row, column))
        values = [x[n, c, row, column] for row, column in window]
        if isinstance(layer, MaxPool2D):
            a[n, c, r, q] = max(values)
            dx[n, c, *window[values.index(max(values))]] += da[n, c, r, q]
        else:
            cells = layer.pool_size[0] * layer.pool_size[1]
            a[n, c, r, q] = sum(values) / cells
            for place in window:
                dx[n, c, *place] += da[n, c, r, q] / cells
    return a, dx


@given(_pools(), st.booleans())
def test_it_is_the_largest_or_the_mean_of_each_window(drawn: tuple[Any, NDArray, NDArray], in_bands: bool) -> None:
    layer, x, da = drawn
    with pytest.MonkeyPatch.context() as patch:
        if in_bands:
            patch.setattr(pooling, "BAND_BYTES", 1)
        a, dx = _run(layer, x, da)
        assert len(layer.start(x, None)._bands) == (layer.axes(layer.input_shape)[0].places if in_bands else 1)
    expected = _slow(layer, _channels_second(x, layer.data_format), _channels_second(da, layer.data_format).copy())
    np.testing.assert_allclose(_channels_second(a, layer.data_format), expected[0], atol=1e-12)
    np.testing.assert_allclose(_channels_second(dx, layer.data_format), expected[1], atol=1e-12)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 6), st.integers(0, 3))
def test_where_windows_stand_is_found_without_trying(size: int, window: int, stride: int, padding: int) -> None:
    for axis in (Axis.padded(size, window, stride, padding), Axis.same(size, window, stride)):
        lying = {
            (place, offset, place * stride + offset - axis.before)
            for place in range(axis.places)
            for offset in range(window)
        }
        on_picture = {one for one in lying if 0 <= one[2] < size}
        found = set()
        for offset in range(window):
            places, pixels = axis.tap(offset)
            here = range(places.start, places.stop), range(*pixels.indices(size))
            found |= {(place, offset, pixel) for place, pixel in zip(*here, strict=True)}
        assert found == on_picture
        if axis.places < 1:
            continue
        assert axis.needs_padding == (found != lying)
        seen = [pixel for _, _, pixel in found]
        all_seen = set(seen) == set(range(size))
        assert axis.covers == all_seen if axis.before == 0 else all_seen or not axis.covers
        assert axis.overlaps or len(set(seen)) == len(seen)
        middle = axis.places // 2
        halves = [axis.tap(0, 0, middle)[1], axis.tap(0, middle, axis.places)[1]]
        joined = [pixel for half in halves for pixel in range(*half.indices(size))]
        assert joined == list(range(*axis.tap(0)[1].indices(size)))


def test_nan_is_larger_than_any_number_as_in_torch() -> None:
    x = np.arange(16.0).reshape(1, 4, 4)
    x[0, 1, 1] = np.nan
    a, dx = _run(MaxPool2D(2), x)
    np.testing.assert_array_equal(a, [[[np.nan, 7], [13, 15]]])
    np.testing.assert_array_equal(a[0], torch.nn.functional.max_pool2d(torch.tensor(x), 2)[0])
    np.testing.assert_array_equal(dx.sum(axis=(1, 2)), 4)  # each window gives its gradient to one pixel
    padded, _ = _run(MaxPool2D(3, stride=2, padding=1), x)
    np.testing.assert_array_equal(padded[0], torch.nn.functional.max_pool2d(torch.tensor(x), 3, 2, 1)[0])


def test_minus_infinity_is_a_value_as_any_other() -> None:
    x = np.full((1, 3, 3), -np.inf)
    a, dx = _run(MaxPool2D(3, stride=1, padding=1), x)
    np.testing.assert_array_equal(a, x)
    inputs = torch.tensor(x, requires_grad=True)
    torch.nn.functional.max_pool2d(inputs[None], 3, 1, 1).sum().backward()
    assert dx.sum() == inputs.grad.sum() == 9


def test_padding_counts_in_the_mean_but_is_never_the_largest() -> None:
    x = np.full((1, 2, 2), -1.0)
    np.testing.assert_array_equal(_run(AveragePool2D(2, stride=2, padding=1), x)[0], np.full((1, 2, 2), -0.25))
    np.testing.assert_array_equal(_run(MaxPool2D(2, stride=2, padding=1), x)[0], x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data_format", FORMATS)
def test_a_layer_takes_an_input_and_a_dx_of_any_strides(kind: Callable[..., Any], data_format: str) -> None:
    layer = kind((2, 3), stride=2, data_format=data_format)
    x = np.random.default_rng(1).normal(size=(3, 5, 6, 4))
    expected = _run(layer, x)
    for order in itertools.permutations(range(4)):
        strided = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        dx = np.empty_like(strided)[::-1]
        one = layer.start(strided, {})
        one.forward()
        one.da[...] = 1
        one.backward(dx)
        np.testing.assert_array_equal(one.a, expected[0])
        np.testing.assert_array_equal(dx, expected[1])


def test_pixels_in_no_window_have_gradient_0() -> None:
    _, dx = _run(MaxPool2D(2, stride=3), np.ones((2, 5, 5)))
    np.testing.assert_array_equal(dx[0], np.pad([[1.0, 0, 0, 1], [0] * 4, [0] * 4, [1, 0, 0, 1]], (0, 1)))
    _, dx = _run(AveragePool2D(2), np.ones((2, 5, 4)))
    np.testing.assert_array_equal(dx[0], np.pad(np.full((4, 4), 0.25), ((0, 1), (0, 0))))


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_layer_gives_no_gradient_and_needs_none(kind: Callable[..., Any]) -> None:
    layer = kind(2)
    layer.build((4, 4), "pool1")
    one = layer.start(np.ones((2, 4, 4)), {})
    one.forward()
    one.backward(None)
    still = layer.start(np.ones((2, 4, 4)), None)
    still.forward()
    np.testing.assert_array_equal(still.a, one.a)
    assert one.z is None
    assert one.delta is None


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_give_no_rows(kind: Callable[..., Any]) -> None:
    assert Network([kind(2), Flatten(), Dense(2)], input_shape=(4, 4, 3)).predict(np.zeros((0, 4, 4, 3))).shape == (
        0,
        2,
    )


@pytest.mark.parametrize("data_format", FORMATS)
def test_outputs_are_named_by_channel_and_place_in_the_order_of_flatten(data_format: str) -> None:
    shape = (4, 6, 3) if data_format == "channels_last" else (3, 4, 6)
    network = Network([MaxPool2D(2, data_format=data_format), Flatten(), Dense(2)], input_shape=shape)
    names = list(network["output"].input_names)
    first = ["pool1[0] @ (0, 0)", "pool1[1] @ (0, 0)"] if data_format == "channels_last" else [
        "pool1[0] @ (0, 0)", "pool1[0] @ (0, 1)"
    ]  # fmt: skip
    assert names[:2] == first
    assert names[-1] == "pool1[2] @ (1, 2)"
    assert len(set(names)) == len(names) == 18
    flat = Network([MaxPool2D(2), Flatten(), Dense(2)], input_shape=(4, 6))
    assert flat["pool1"].output_shape == (2, 3)
    assert list(flat["output"].input_names) == [f"pool1[0] @ ({r}, {q})" for r, q in np.ndindex(2, 3)]


def test_they_describe_themselves() -> None:
    network = Network(
        [MaxPool2D(), AveragePool2D((3, 2), stride=1, padding=(1, 0), data_format="channels_first"), Flatten()],
        input_shape=(8, 8, 3),
    )
    assert network["pool1"].to_dict() == {
        "type": "MaxPool2D", "name": "pool1", "pool_size": [2, 2], "stride": [2, 2], "padding": [0, 0],
        "data_format": "channels_last",
    }  # fmt: skip
    assert network["pool2"].to_dict()["stride"] == [1, 1]
    assert Network.from_dict(network.to_dict()).to_dict() == network.to_dict()
    assert network["pool1"].algebra() == "a = largest of each 2 × 2 window of 8 × 8 × 3"
    assert network["pool2"].algebra() == "a = mean of each 3 × 2 window of 4 × 3 × 4, stride 1 × 1, padding 1 × 0"
    assert network["pool1"].formula() == ""
    assert network.parameter_count == 0
    assert repr(network["pool2"]) == "AveragePool2D(3 × 2)"
    assert "MaxPool2D" in str(network.summary())


def test_building_takes_no_memory() -> None:
    layer = MaxPool2D(2)
    layer.build((10**6, 10**6, 10**4), "pool1")
    assert layer.neuron_count == 10**16 // 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pool_size": 0}, "argument pool_size: expected a whole number from 1, or two of them for rows and columns"),
        ({"pool_size": (2, 2, 2)}, "argument pool_size"),
        ({"pool_size": 2.0}, "argument pool_size"),
        ({"pool_size": None}, "argument pool_size"),
        ({"stride": (1, 0)}, "argument stride"),
        ({"stride": "same"}, "argument stride"),
        ({"padding": -1}, "argument padding"),
        ({"padding": "same"}, "argument padding"),
        ({"padding": 2}, "argument padding: at most half a window of 2 × 2 can be padding, got 2 × 2"),
        ({"pool_size": (4, 1), "padding": 1}, "at most half a window of 4 × 1 can be padding, got 1 × 1"),
        ({"data_format": "channels"}, "argument data_format: expected 'channels_last' or 'channels_first', got"),
        ({"data_format": 1}, "argument data_format"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(kind: Callable[..., Any], options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(text)):
        kind(**options)


@pytest.mark.parametrize(
    ("layers", "shape", "text"),
    [
        ([MaxPool2D(5)], (4, 9), "layer output: a window of 5 × 5 does not fit into its input of shape (4, 9): 4 × 9"),
        ([AveragePool2D(5), Flatten()], (3, 28, 28), 'pass data_format="channels_first"'),
        ([Conv2D(3, 3), MaxPool2D(30), Flatten()], (28, 28), "layer pool1: a window of 30 × 30 does not fit"),
        ([MaxPool2D()], (784,), "MaxPool2D takes a picture, (rows, columns, channels) or (rows, columns)"),
        ([AveragePool2D()], (2, 2, 2, 2), "AveragePool2D takes a picture"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_the_mend(layers: list[Any], shape: Any, text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(text)):
        Network(layers, input_shape=shape)
